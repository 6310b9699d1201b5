package move

import (
	"slices"
	"sync"
	"time"
)

// Bounds of what admins hear in a day: the same thing of an account once, and few things
// of it. Of those of whom nobody has written down who they are, few from a host and not
// too many in all: who ends a conversation and begins another is the same nuisance.
const (
	noticesAccount = 5
	noticesHost    = 15
	noticesAll     = 100
)

// notice is one thing that admins heard.
type notice struct {
	account, host, matter string
	at                    time.Time
	known                 bool // the account is proven to be somebody's
}

// notices are those of the last day. They end with the process.
type notices struct {
	mu  sync.Mutex // guards all
	all []notice
}

// allow reports whether admins may hear one more, and notes it if so.
func (n *notices) allow(one notice) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = slices.DeleteFunc(n.all, func(x notice) bool { return one.at.Sub(x.at) >= day })
	var account, host, strangers int
	for _, x := range n.all {
		if x.account == one.account {
			if x.matter == one.matter {
				return false
			}
			account++
		}
		if !x.known {
			strangers++
			if x.host == one.host {
				host++
			}
		}
	}
	if account >= noticesAccount || !one.known && (host >= noticesHost || strangers >= noticesAll) {
		return false
	}
	n.all = append(n.all, one)
	return true
}
