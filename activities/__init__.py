"""One step of a command each: methods on classes that receive their ports. May import ``oncelog.write`` down."""
