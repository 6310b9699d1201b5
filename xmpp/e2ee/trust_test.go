package e2ee_test

import (
	"errors"
	"strings"
	"testing"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
)

func TestPins(t *testing.T) {
	a, b := strings.Repeat("A", 40), strings.Repeat("B", 40)
	alice := &policy.Person{Name: "alice", OpenPGP: []string{a}, OTR: []string{a, b}}
	for _, tt := range []struct {
		name   string
		person *policy.Person
		kind   e2ee.KeyKind
		fpr    string
		want   policy.Rung
		err    error
	}{
		{"listed", alice, e2ee.KeyOTR, b, policy.Verified, nil},
		{"listed for another kind only", alice, e2ee.KeyOpenPGP, b, policy.Clear, e2ee.ErrKeyChanged},
		{"nothing listed", nobody, e2ee.KeyOTR, b, policy.Sealed, nil},
		{"nobody", nil, e2ee.KeyOTR, b, policy.Sealed, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := e2ee.Peer{Person: tt.person}
			for _, ask := range []func(e2ee.Peer, e2ee.KeyKind, string) (policy.Rung, error){e2ee.Pins{}.Rung, e2ee.Pins{}.Meet} {
				if got, err := ask(p, tt.kind, tt.fpr); got != tt.want || !errors.Is(err, tt.err) {
					t.Errorf("%v, %v; want %v, %v", got, err, tt.want, tt.err)
				}
			}
		})
	}
	if k := (e2ee.Pins{}).Keys(e2ee.Peer{Person: alice}, e2ee.KeyOTR); len(k) != 2 || k[1].Fingerprint != b || k[1].Rung != policy.Verified {
		t.Errorf("Keys = %+v", k)
	}
	if (e2ee.Pins{}).Pinned(nobody, e2ee.KeyOTR) || !(e2ee.Pins{}).Pinned(alice, e2ee.KindOf("ox")) {
		t.Error("Pinned")
	}
}

func TestParseFingerprint(t *testing.T) {
	want := "0123456789ABCDEF0123456789ABCDEF01234567"
	for _, tt := range []struct {
		in string
		ok bool
	}{
		{want, true},
		{"0x" + strings.ToLower(want), true},
		{"01234567 89ABCDEF 01234567 89ABCDEF 01234567", true}, // Pidgin
		{"01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67", true},
		{want[1:], false},
		{want[1:] + "G", false},
		{"", false},
	} {
		if got, ok := e2ee.ParseFingerprint(tt.in); ok != tt.ok || ok && got != want {
			t.Errorf("%q: %q, %v", tt.in, got, ok)
		}
	}
}
