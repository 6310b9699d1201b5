//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"

	"drawbridge/internal/lab"
)

// ledger is what `drawbridge status --json` tells of a bridge.
type ledger struct {
	Received, Accepted, Refused, Unreadable, Commands, Again, Looped, Paused   uint64
	Queued, Relayed, Waiting, Bounced, Missed, Skipped, Dead, Unproven, Resent uint64
}

func (l ledger) balanced() bool {
	return l.Received == l.Accepted+l.Refused+l.Unreadable+l.Commands+l.Again+l.Looped+l.Paused &&
		l.Queued == l.Relayed+l.Waiting+l.Bounced+l.Missed+l.Skipped+l.Dead+l.Unproven
}

func (l ledger) String() string {
	return fmt.Sprintf("received %d = %d accepted + %d refused + %d unreadable + %d commands + %d again + %d looped + %d paused; "+
		"queued %d = %d relayed + %d waiting + %d bounced + %d missed + %d skipped + %d dead + %d unproven; %d sent again",
		l.Received, l.Accepted, l.Refused, l.Unreadable, l.Commands, l.Again, l.Looped, l.Paused,
		l.Queued, l.Relayed, l.Waiting, l.Bounced, l.Missed, l.Skipped, l.Dead, l.Unproven, l.Resent)
}

// ledger asks the bot for the ledger of its bridge; it must balance whenever it
// is asked for. ok is false while the bot does not answer.
func (h *house) ledger() (l ledger, ok bool) {
	h.t.Helper()
	out, _, code := h.try("status", "--json")
	if code != 0 {
		return ledger{}, false
	}
	var r struct {
		Bridges []struct{ Ledger ledger }
	}
	h.must(json.Unmarshal([]byte(out), &r))
	if len(r.Bridges) != 1 {
		h.t.Fatalf("status tells of %d bridges", len(r.Bridges))
	}
	if l = r.Bridges[0].Ledger; !l.balanced() {
		h.t.Errorf("the ledger does not balance: %s", l)
	}
	return l, true
}

// balanced waits until nothing waits in the bot any more; the ledger must balance
// all the time.
func (h *house) balanced() ledger {
	h.t.Helper()
	var last ledger
	if !lab.Poll(overload, func() bool {
		l, ok := h.ledger()
		last = l
		return ok && l.Waiting == 0
	}) {
		h.t.Errorf("lines still wait: %s", last)
	}
	return last
}

// audited has `drawbridge audit` show that the account of the bridge adds up, be the
// bot running or dead, and returns it.
func (h *house) audited(when string) ledger {
	h.t.Helper()
	var out, errs string
	var code int
	var accounts []struct {
		Ledger   ledger
		Balanced bool
	}
	if !lab.Poll(wait, func() bool { // a busy bot may not answer in time
		out, errs, code = h.try("audit", "--json")
		return json.Unmarshal([]byte(out), &accounts) == nil && len(accounts) == 1
	}) {
		h.t.Fatalf("%s: audit: exit code %d\n%s%s", when, code, out, errs)
	}
	if a := accounts[0]; code != 0 || !a.Balanced || !a.Ledger.balanced() {
		h.t.Errorf("%s: audit: exit code %d, balanced: %v: %s", when, code, a.Balanced, a.Ledger)
	}
	return accounts[0].Ledger
}
