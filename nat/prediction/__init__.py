"""Port prediction: a direct path where one NAT maps per destination and the other filters by port.

Neither side can tell the other which port to send to: the hard side's NAT picks a random one for
each destination (RFC 4787 §4.1, "address and port-dependent mapping"), and the easy side's lets in
only what comes from where it has sent to (§5). RFC 5128 §3.4 describes the guess of one port;
where ports are random, the birthday paradox makes many guesses at once worth their price: the hard
side opens 256 ports towards the easy side, the easy side checks random ports of the hard side's
address. After 1,024 checks one of them has met one of the 256 in 98 % of all tries, after 2,048 in
99.97 %; on average it takes 250.

The port that wins is spliced to the shared one by the owner, below the sockets. From then on the
pair is one like any other.

| read | to learn |
|---|---|
| `side.py` | who plays which side, towards which address |
| `hard.py`, `easy.py` | the two sides of one campaign |
| `schedule.py` | when both sides try, without a word between them |
| `budget.py` | what a campaign may send to whom |
| `predictor.py` | all peers, as one machine |
"""
