package xmpp

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

// count numbers what the leg counts and does not relay.
type count int

const (
	countMalformed count = iota
	countPanics
	countStrangers
	countSubscriptions
	countPrivate
	countOwn
	countErrors
	countHeadlines
	countHistory
	countEmpty
	countReplies
	countUnreadable
	countUndecryptable
	countStreams
	countResumed
	countWhispers
	countLast
)

var countNames = [countLast]string{
	countMalformed:     "malformed",           // stanzas that could not be parsed, or were too large
	countPanics:        "panics",              // stanzas whose handling panicked
	countStrangers:     "strangers",           // messages and presences of people not configured
	countSubscriptions: "subscriptions",       // subscription requests refused
	countPrivate:       "muc_pm",              // private messages in rooms
	countOwn:           "own",                 // own echoes, carbons, own account
	countErrors:        "errors",              // error stanzas
	countHeadlines:     "headlines",           // headlines
	countHistory:       "history",             // room history that was not asked for
	countEmpty:         "empty",               // chat states, markers, nothing to relay
	countReplies:       "replies_dropped",     // answers given up because too many waited
	countUnreadable:    "unreadable",          // messages that could not be opened
	countUndecryptable: "peer_cannot_decrypt", // error 406 from a contact
	countStreams:       "streams",             // streams opened
	countResumed:       "resumed",             // of these, streams that resumed a session
	countWhispers:      "whispers_dropped",    // words of the guard left out because too many waited
}

type counts [countLast]atomic.Uint64

func (c *counts) add(n count) { c[n].Add(1) }

// Counts returns what the leg has counted since it was made, by name.
func (l *Leg) Counts() map[string]uint64 {
	m := make(map[string]uint64, countLast)
	for i, name := range countNames {
		m[name] = l.counts[i].Load()
	}
	return m
}

// note tells an operator of what hints at trouble or mischief, "" if there is none.
func (c *counts) note() string {
	var parts []string
	for _, n := range []count{
		countStrangers, countSubscriptions, countPrivate, countMalformed, countPanics, countReplies, countUnreadable, countUndecryptable,
	} {
		if v := c[n].Load(); v > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", countNames[n], v))
		}
	}
	if parts == nil {
		return ""
	}
	return "counted and not relayed: " + strings.Join(parts, ", ")
}

// mayLog reports whether something that strangers can cause at will may be logged
// again: once a second. The rest is only counted.
func (l *Leg) mayLog(last *atomic.Int64) bool {
	now := time.Now().UnixNano()
	was := last.Load()
	return now-was >= int64(time.Second) && last.CompareAndSwap(was, now)
}
