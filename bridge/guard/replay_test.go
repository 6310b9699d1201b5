package guard

import (
	"errors"
	"iter"
	"strings"
	"testing"

	"drawbridge/policy"
)

func series(acts ...Act) iter.Seq2[Act, error] {
	return func(yield func(Act, error) bool) {
		for _, a := range acts {
			if !yield(a, nil) {
				return
			}
		}
	}
}

// Another policy is judged by what was known then; what nobody decided is passed over.
func TestReplay(t *testing.T) {
	plain := testAct()
	plain.Do, plain.Effect, plain.Basis, plain.Rule, plain.Acts, plain.Facts.Ban, plain.Facts.BanMissing, plain.Facts.TLS = policy.Join, policy.Kick, policy.ByRule, "tls-only", "kick", nil, 0, policy.IsNot("WHOX", plain.At)
	same := plain
	same.Facts.TLS, same.Effect, same.Basis = policy.Is("", "WHOX", plain.At), policy.Allow, policy.ByDefault
	order := Act{At: plain.At, Room: "finance", Acts: "enable", Actor: "alice"}
	spec := policy.Spec{
		Rooms: []policy.Room{{Name: "finance", Default: policy.Allow}},
		Rules: []policy.Rule{{ID: "tls-only", Do: []policy.Do{policy.Join}, If: policy.If{TLS: policy.No}, Effect: policy.Kick}},
	}
	got, err := Replay(spec, series(plain, same, order))
	if err != nil || got.Read != 2 || len(got.Differences) != 0 {
		t.Errorf("the same policy: %+v, %v", got, err)
	}
	spec.Rules[0].Effect = policy.Quarantine
	got, err = Replay(spec, series(plain, same, order))
	if err != nil || got.Read != 2 || len(got.Differences) != 1 || got.Differences[0].Now.Effect != policy.Quarantine {
		t.Fatalf("a milder policy: %+v, %v", got, err)
	}
	if why := got.Differences[0].Why; !strings.Contains(why, "-> QUARANTINE (it was kick)") || !strings.Contains(why, "matched  tls-only") {
		t.Errorf("explained as\n%s", why)
	}
	broken := func(yield func(Act, error) bool) { yield(Act{}, ErrChain) }
	if _, err := Replay(spec, broken); !errors.Is(err, ErrChain) {
		t.Errorf("a broken chain: %v", err)
	}
	spec.Rules[0].ID = ""
	if _, err := Replay(spec, series()); err == nil {
		t.Error("a policy that does not compile is taken")
	}
}

func TestActInALine(t *testing.T) {
	a := testAct()
	for _, tt := range []struct {
		act  Act
		want string
	}{
		{a, "2026-11-21 22:05:29  corp/#finance  eve!eve@10.0.0.7 (eve)  speak -> ban by ban b1: kick+ban (sent); undo: guard forgive eve corp/#finance"},
		{Act{At: a.At, Room: "finance", Acts: "enable", Actor: "alice", Result: "done"}, "2026-11-21 22:05:29  finance  alice: enable (done)"},
		{Act{At: a.At, Acts: "off-boarding", Who: "bob", Actor: "guard"}, "2026-11-21 22:05:29  all rooms  guard: off-boarding bob"},
	} {
		if got := tt.act.String(); got != tt.want {
			t.Errorf("got\n%s, want\n%s", got, tt.want)
		}
	}
}
