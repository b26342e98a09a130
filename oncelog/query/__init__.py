"""The questions that can be asked of the read side, each with an optional consistency token. May import ports only."""
