// Package xmpp is the XMPP leg: one account, its roster, its one-to-one chats
// with configured people, and its rooms (XEP-0045). It runs on package stream
// and leaves encryption to the schemes of package e2ee.
package xmpp
