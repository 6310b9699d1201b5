// Package engine is the Off-the-Record protocol, version 2
// (otr.cypherpunks.ca/Protocol-v2-3.1.0.html): the handshake, data messages and
// the socialist millionaires' protocol, for one conversation. It turns whole
// "?OTR:….": messages into text and back; queries, fragments, limits of time and
// number, and what a key is worth are its caller's.
//
// It follows golang.org/x/crypto/otr (LICENSE.golang), which is frozen, and mends
// what decision 21 lists: an outsider could crash it, end a session, or pass the
// question about the secret without knowing it.
package engine
