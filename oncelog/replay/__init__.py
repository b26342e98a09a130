"""The replay of one stream: its state at any sequence number, and the class schemas that commands are decided under."""
