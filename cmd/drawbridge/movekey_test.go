package main

import (
	"testing"

	"drawbridge/bridge/move"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/openpgp"
)

// TestNamedKey: a key that names other Jabber addresses is somebody else's; one that names
// none is for an admin to decide.
func TestNamedKey(t *testing.T) {
	ring := []openpgp.Info{
		{Fingerprint: "A", UserIDs: []string{"Alice <alice@mail.example>", "xmpp:alice@corp.example"}},
		{Fingerprint: "B", UserIDs: []string{"xmpp:Bob@corp.example", "xmpp:bob@other.example"}},
		{Fingerprint: "C", UserIDs: []string{"Carol <carol@mail.example>"}},
		{Fingerprint: "D", UserIDs: []string{"<xmpp:alice@corp.example>"}, Unusable: e2ee.ErrKeyExpired},
		{Fingerprint: "E", UserIDs: []string{"xmpp:eve@corp.example", "xmpp:alice@corp.example"}},
	}
	for fpr, want := range map[string]move.KeyState{"A": move.KeyNew, "B": move.KeyOther, "C": move.KeyNew, "D": move.KeyEnded, "E": move.KeyNew, "F": move.KeyNew} {
		if got := namedKey(ring, "alice@corp.example", fpr); got != want {
			t.Errorf("%s: %v, want %v", fpr, got, want)
		}
	}
	if got := namedKey(ring, "bob@corp.example", "B"); got != move.KeyNew {
		t.Errorf("bob's own: %v", got)
	}
}
