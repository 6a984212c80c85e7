"""
Is this the machine and the image we expect?

Bytes in, result out: evidence, endorsements, policy, nonce and time are arguments, and nothing here opens a
socket or asks a clock.  The recipe is `attestation.appraise.appraise`; every kind of evidence has a folder
with the same file names: `evidence`, `endorsements`, `roots`, `authenticate`, `claims`, `policy`, `appraise`.
The words are those of RFC 9334.
"""
