// Package engine is the Off-the-Record protocol, versions 2 and 3
// (otr.cypherpunks.ca/Protocol-v2-3.1.0.html, Protocol-v3-4.1.1.html): the
// handshake, data messages and the socialist millionaires' protocol, for one
// conversation, behind which there may be several instances of version 3. It turns whole
// "?OTR:….": messages into text and back; queries, fragments, limits of time and
// number, and what a key is worth are its caller's.
//
// Keys and signatures are golang.org/x/crypto/otr's, behind bounds of ours; decision
// 21 says why its conversations are not.
package engine
