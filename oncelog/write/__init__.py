"""The command path's protocol, written against ports: commit, publish, project. May import projections and below."""
