"""The directory of one team: who is in, with which key, address and candidates (design S4, A1 to A3).

Everything here is a function of the set of what came in: messages, members, devices and files, in
any order and any number of times.
"""
