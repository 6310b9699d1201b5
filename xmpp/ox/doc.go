// Package ox is OpenPGP for XMPP as Gajim and profanity speak it (XEP-0373, and
// XEP-0374 for instant messages): every message is signed, names its recipient and
// its time, and carries receipts and chat states inside.
//
// It shares keys and packets with XEP-0027 (xmpp/openpgp), and does no I/O: what it
// publishes on PEP and reads there, the leg sends and asks for.
package ox
