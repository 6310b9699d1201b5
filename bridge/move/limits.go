package move

import (
	"encoding/json"
	"time"
)

// Bounds of the invitations that are given out: each makes an account at the server. Those
// of a host and of a day are for people of whom nobody has written down who they are: an
// office behind one address gets on, and strangers cannot use up what is for the team.
const (
	perAccountDay   = 1
	perAccountMonth = 3
	perHostDay      = 3
	perDay          = 20

	day   = 24 * time.Hour
	month = 30 * day
)

// given is one invitation that was given out.
type given struct {
	Account string    `json:"account"` // "corp/alice"
	Host    string    `json:"host"`
	At      time.Time `json:"at"`
	Known   bool      `json:"known,omitempty"` // the account is proven to be somebody's
}

// ledger is those of the last month.
type ledger []given

func readLedger(data []byte, now time.Time) (l ledger) {
	var all ledger
	_ = json.Unmarshal(data, &all) // our own; what is not whole begins anew
	for _, g := range all {
		if d := now.Sub(g.At); d >= -time.Hour && d < month {
			l = append(l, g)
		}
	}
	return l
}

// why says which limit stands in the way of one more, as a key; "": none does.
func (l ledger) why(one given) string {
	var today, ofDay, ofMonth, ofHost int
	for _, g := range l {
		fresh := one.At.Sub(g.At) < day
		if g.Account == one.Account {
			ofMonth++
			if fresh {
				ofDay++
			}
		}
		if !fresh || g.Known || one.Known {
			continue
		}
		today++
		if g.Host == one.Host {
			ofHost++
		}
	}
	switch {
	case ofDay >= perAccountDay:
		return "limit_account"
	case ofMonth >= perAccountMonth:
		return "limit_month"
	case ofHost >= perHostDay:
		return "limit_host"
	case today >= perDay:
		return "limit_day"
	}
	return ""
}
