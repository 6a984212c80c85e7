"""
Endorsements from the services of AMD and Intel: the only part that opens a socket.

A verifier imports none of it.
"""
