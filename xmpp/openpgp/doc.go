// Package openpgp is the OpenPGP scheme of the XMPP leg as Psi, Gajim, Dino,
// profanity and mcabber speak it (XEP-0027), and the keyring under it.
//
// Keys are pinned by fingerprint in the config and never learnt from presence.
// The scheme does no I/O; the keyring reads key files when it is told to.
package openpgp
