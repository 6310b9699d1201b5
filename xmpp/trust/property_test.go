package trust

import (
	"context"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
)

// scheme asks the book as a scheme does.
type scheme struct {
	book *Book
	name string
	fpr  string // of the conversation, where the scheme has one
}

func (s scheme) Name() string              { return s.name }
func (s scheme) Claims(e2ee.Incoming) bool { return true }
func (s scheme) Pinned(p e2ee.Peer) bool   { return s.book.Pinned(p.Person, e2ee.KindOf(s.name)) }
func (s scheme) Reach(p e2ee.Peer) (policy.Rung, error) {
	return s.book.Rung(p, e2ee.KindOf(s.name), s.fpr)
}

func (s scheme) Seal(context.Context, e2ee.Peer, e2ee.Plain) (e2ee.Payload, error) {
	return e2ee.Payload{}, nil
}

func (s scheme) Open(context.Context, e2ee.Peer, e2ee.Incoming) (e2ee.Opened, error) {
	return e2ee.Opened{}, nil
}

// TestTrustHolds draws what may happen, in any order, and looks after each step at
// what must always be so.
func TestTrustHolds(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		digits := rapid.SampledFrom([]string{"A", "B", "C", "D"})
		kinds := rapid.SampledFrom(e2ee.KeyKinds())
		accounts := rapid.SampledFrom([]string{"tofu", "pinned"})
		w := newWorld(t)
		w.alice.OTR = rapid.SliceOfNDistinct(rapid.Map(digits, fpr), 0, 2, rapid.ID).Draw(r, "listed")
		w.alice.OpenPGP = rapid.SliceOfNDistinct(rapid.Map(digits, fpr), 0, 1, rapid.ID).Draw(r, "listed")
		w.restart()
		// What was decided, and what was ever kept or met.
		revoked, accepted, kept := map[id]bool{}, map[id]bool{}, map[id]bool{}
		decide := func(to e2ee.KeyState) {
			how := rapid.SampledFrom([]e2ee.How{e2ee.HowAdmin, e2ee.HowSession, e2ee.HowSMP}).Draw(r, "how")
			if to == e2ee.KeyRevoked {
				how = e2ee.HowAdmin
			}
			k := id{"alice", kinds.Draw(r, "kind"), fpr(digits.Draw(r, "key"))}
			_, err := w.book.decide(context.Background(), Decision{Person: k.person, Kind: k.kind, Fingerprint: k.fpr, How: how}, to)
			if to == e2ee.KeyTrusted && err == nil {
				if revoked[k] && how != e2ee.HowAdmin {
					r.Fatalf("%v took back the revocation of %v", how, k)
				}
				accepted[k] = true
				delete(revoked, k)
			}
			if to == e2ee.KeyRevoked && err == nil {
				revoked[k] = true
				delete(accepted, k)
			}
		}
		trusted := func(k id) bool {
			return !revoked[k] && (accepted[k] || slices.Contains(e2ee.ConfigPins(w.alice, k.kind), k.fpr))
		}
		r.Repeat(map[string]func(*rapid.T){
			"meet": func(r *rapid.T) {
				_, _ = w.book.Meet(w.peer(accounts.Draw(r, "account"), w.alice), kinds.Draw(r, "kind"), fpr(digits.Draw(r, "key")))
			},
			"accept": func(*rapid.T) { decide(e2ee.KeyTrusted) },
			"revoke": func(*rapid.T) { decide(e2ee.KeyRevoked) },
			"smp": func(r *rapid.T) {
				k := id{"alice", e2ee.KeyOTR, fpr(digits.Draw(r, "key"))}
				_, end, err := w.book.BeginSMP(w.peer("tofu", w.alice), k.fpr)
				if err != nil {
					return
				}
				o := rapid.SampledFrom([]e2ee.SMPOutcome{e2ee.SMPFailed, e2ee.SMPMatched, e2ee.SMPAbandoned}).Draw(r, "outcome")
				if end(o); o == e2ee.SMPMatched {
					accepted[k] = true
				}
			},
			"restart": func(*rapid.T) { w.restart() },
			"time":    func(*rapid.T) { w.now = w.now.Add(time.Hour) },
			"": func(r *rapid.T) {
				for _, account := range []string{"tofu", "pinned"} {
					p := w.peer(account, w.alice)
					for _, kind := range e2ee.KeyKinds() {
						anyTrusted := false
						for _, d := range []string{"A", "B", "C", "D"} {
							anyTrusted = anyTrusted || trusted(id{"alice", kind, fpr(d)})
						}
						worthy := 0
						for _, d := range []string{"A", "B", "C", "D"} {
							k := id{"alice", kind, fpr(d)}
							rung, err := w.book.Rung(p, kind, k.fpr)
							switch {
							case (err == nil) != (rung > policy.Clear):
								r.Fatalf("%v: %v and %v", k, rung, err)
							case revoked[k] && err == nil:
								r.Fatalf("%v is revoked and counts %v", k, rung)
							case trusted(k) != (rung == policy.Verified):
								r.Fatalf("%v: trusted %v, counts %v", k, trusted(k), rung)
							case anyTrusted && !trusted(k) && err == nil && !kept[k]:
								r.Fatalf("%v counts %v beside a trusted one, and did not before", k, rung)
							case anyTrusted && rung == policy.Sealed:
								r.Fatalf("%v counts %v beside a trusted one", k, rung)
							case account == "pinned" && rung == policy.Signed:
								r.Fatalf("%v was kept where nothing is", k)
							}
							if rung == policy.Signed {
								kept[k] = true
							}
							if rung == policy.Sealed || rung == policy.Signed {
								worthy++
							}
							for floor := policy.Sealed; floor <= policy.Verified; floor++ {
								s := scheme{w.book, map[e2ee.KeyKind]string{e2ee.KeyOTR: "otr", e2ee.KeyOpenPGP: "openpgp"}[kind], k.fpr}
								if _, got, err := e2ee.Choose([]e2ee.Scheme{s}, []string{s.name}, floor, p); err == nil && (got < floor || rung < floor) {
									r.Fatalf("%v is used at %v below %v", k, got, floor)
								}
							}
						}
						if worthy > 1 {
							r.Fatalf("%d keys count that nobody accepted", worthy)
						}
						for _, k := range w.book.Keys(p, kind) {
							if rung, err := w.book.Rung(p, kind, k.Fingerprint); err != nil || rung != k.Rung {
								r.Fatalf("Keys says %v of %s, Rung %v, %v", k.Rung, k.Fingerprint, rung, err)
							}
						}
					}
				}
			},
		})
	})
}
