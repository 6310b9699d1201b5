package store

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"drawbridge/xmpp/e2ee"
)

func TestTrust(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Config{Dir: dir}, Deps{})
	at := time.Unix(1_800_000_000, 123456789).UTC()
	fpr := func(d string) string { return strings.Repeat(d, 40) }
	keys := []e2ee.Key{
		{Person: "bob", Kind: e2ee.KeyOTR, Fingerprint: fpr("B"), State: e2ee.KeyKept, How: e2ee.HowTOFU, First: at, Since: at},
		{Person: "alice", Kind: e2ee.KeyOpenPGP, Fingerprint: fpr("A"), State: e2ee.KeyTrusted, How: e2ee.HowAdmin, Who: "dave", First: at.Add(1), Since: at.Add(time.Hour)},
		{Person: "alice", Kind: e2ee.KeyOTR, Fingerprint: fpr("A"), State: e2ee.KeyRevoked, How: e2ee.HowAdmin, Who: "dave", First: at.Add(2), Since: at.Add(2)},
		{Person: "alice", Kind: e2ee.KeyOTR, Fingerprint: fpr("C"), State: e2ee.KeyWaiting, How: e2ee.HowSeen, First: at.Add(3), Since: at.Add(3)},
	}
	keep := func(k ...e2ee.Key) {
		t.Helper()
		if err := s.KeepKeys(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	keep(keys...)
	keys[0].State, keys[0].How, keys[0].Who = e2ee.KeyTrusted, e2ee.HowSMP, "bob@x/phone"
	gone := keys[3]
	gone.State = e2ee.KeyUnknown
	keep(keys[0], gone)
	tries := e2ee.SMPTries{Failed: []time.Time{at}, Blocked: at.Add(1), Used: []byte{1, 2, 3}}
	if err := s.KeepTries(t.Context(), "bob", tries); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()

	s = openTest(t, Config{Dir: dir}, Deps{})
	got, err := s.TrustKeys(t.Context())
	if err != nil || !slices.Equal(got, keys[:3]) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, keys[:3])
	}
	all, err := s.SMPTries(t.Context())
	if b := all["bob"]; err != nil || len(all) != 1 || !b.Failed[0].Equal(at) || !b.Blocked.Equal(tries.Blocked) || string(b.Used) != "\x01\x02\x03" {
		t.Errorf("%+v, %v", all, err)
	}
}

// TestTrustCannotBeForged: who writes to the database makes no key count, neither
// one of their own nor one that counts for somebody else.
func TestTrustCannotBeForged(t *testing.T) {
	s := openTest(t, Config{Dir: t.TempDir()}, Deps{})
	k := e2ee.Key{Person: "alice", Kind: e2ee.KeyOTR, Fingerprint: strings.Repeat("A", 40), State: e2ee.KeyTrusted, How: e2ee.HowAdmin}
	if err := s.KeepKeys(t.Context(), []e2ee.Key{k}); err != nil {
		t.Fatal(err)
	}
	for _, forge := range []string{
		"UPDATE secret SET owner = 'bob' || substr(owner, 6) WHERE kind = 'trust'",
		"UPDATE secret SET value = x'7b7d' WHERE kind = 'trust'",
	} {
		if err := s.w.do(t.Context(), "forge", func(w *writer) error { return w.conn.exec(forge) }); err != nil {
			t.Fatal(err)
		}
		if got, err := s.TrustKeys(t.Context()); !errors.Is(err, errBody) {
			t.Errorf("%s: %+v, %v", forge, got, err)
		}
	}
}
