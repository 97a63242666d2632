"""Why a peer is reached the way it is: facts in, sentences out. Pure."""
