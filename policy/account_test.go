package policy_test

import (
	"testing"
	"time"

	"drawbridge/policy"
)

// Accounts are the same whatever the case of their letters, of ASCII: networks fold no
// others, and who registers one that only looks the same is somebody else.
func TestAccountsThatLookTheSame(t *testing.T) {
	p, err := policy.Compile(policy.Spec{People: []*policy.Person{{Name: "kate", IRC: map[string]policy.IRCIdentity{"corp": {Accounts: []string{"Kate"}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	bans := []policy.BanRecord{{ID: "b", Mask: policy.MaskAccount + "corp/Kate"}}
	for account, same := range map[string]bool{"Kate": true, "kATE": true, "\u212aate": false, "\u212aATE": false, "kat\u0435": false, "kate ": false} {
		f := policy.NewIRCFacts("corp", "n", "u", "h")
		f.Account = policy.Is(account, "account-tag", time.Time{})
		if who := p.Who(&f); (len(who) == 1) != same {
			t.Errorf("%+q is %q", account, who)
		}
		if p.FindBan(bans, &f, "", time.Time{}); (f.Ban != nil) != same {
			t.Errorf("%+q is banned: %v", account, f.Ban)
		}
	}
}
