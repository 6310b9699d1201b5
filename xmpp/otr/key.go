package otr

import "drawbridge/xmpp/otr/engine"

// Key is the bot's own DSA key. It prints as its fingerprint.
type Key = engine.Key

// NewKey makes a key, which takes about a tenth of a second.
func NewKey() (*Key, error) { return engine.NewKey() }
