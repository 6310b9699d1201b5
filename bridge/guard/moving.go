package guard

import (
	"maps"
	"slices"
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// Moving is what a migration asks of a channel or MUC beside the rules of its room
// (package migrate). The zero value asks nothing.
type Moving struct {
	ReadOnly bool // +m, and nobody has a voice: who is op is heard, nobody else
	// Closed: nobody comes in any more, and nothing is relayed to or from there.
	Closed  bool
	Topic   string // "": as it was before
	Entry   string // said to who comes in, line by line, once an hour each; "": nothing
	Forward string // channel to which the server sends who is not let in; "": to none
}

// Before is how a place was before a Moving changed it: what to set back.
type Before struct {
	Set     string  `json:"set,omitempty"`   // flags that were not set
	Topic   *string `json:"topic,omitempty"` // nil: not changed
	Forward bool    `json:"forward,omitempty"`
	// EntryMsg is what ChanServ said to who came in; nil: not changed.
	EntryMsg *string `json:"entry_msg,omitempty"`
}

// SetMoving says what migrations ask, of each place; what is not in all is asked nothing.
// It may be called at any time, and is carried out like everything else: within the
// room's budget and dry run, and with a line in the audit.
func (g *Guard) SetMoving(all map[bridge.Room]Moving) {
	all = maps.Clone(all)
	before := g.moving.Swap(&all)
	now := g.now()
	for place, sd := range g.table.Load().sides {
		if before != nil && (*before)[place] == all[place] {
			continue
		}
		r := sd.room
		r.mu.Lock()
		sd.judgeAllLocked(now)
		poke(sd.look)
		r.mu.Unlock()
	}
}

// movingOf is what a migration asks of a place.
func (g *Guard) movingOf(place bridge.Room) Moving {
	if all := g.moving.Load(); all != nil {
		return (*all)[place]
	}
	return Moving{}
}

// modes are the flags that a migration wants set.
func (m *Moving) modes() (set string) {
	if m.ReadOnly {
		set = "m"
	}
	if m.Closed {
		set += "i"
	}
	return set
}

// Modes by which servers send somebody on to another channel: of InspIRCd (which does it
// where the channel is full) and UnrealIRCd, and of Solanum.
const (
	redirectMode = 'L'
	forwardMode  = 'f'
	limitMode    = 'l'
)

// wantMovingLocked adds what a migration wants of the channel, and what it no longer
// wants and was not there before. What it changes is noted, unless only is set.
func (sd *side) wantMovingLocked(c *policy.Channel, seen *policy.ChannelSeen, mv Moving, only bool) {
	r := sd.room
	was := r.before[sd.place.String()]
	b := was
	for _, m := range mv.modes() {
		if !strings.ContainsRune(c.Set, m) {
			c.Set += string(m)
		}
		if !strings.ContainsRune(seen.Flags, m) && !strings.ContainsRune(b.Set, m) {
			b.Set += string(m)
		}
	}
	for _, m := range was.Set {
		switch {
		case strings.ContainsRune(mv.modes(), m):
		case strings.ContainsRune(seen.Flags, m) && !strings.ContainsRune(c.Set, m):
			c.Clear += string(m)
		default:
			b.Set = strings.ReplaceAll(b.Set, string(m), "")
		}
	}
	c.Clear = unique(strings.Map(func(m rune) rune { // RECOVER may have left some of them, too
		if strings.ContainsRune(c.Set, m) {
			return -1
		}
		return m
	}, c.Clear))
	c.Topic = sd.movedTopicLocked(c.Topic, seen.Topic, mv, &b)
	sd.wantForwardLocked(c, seen, mv, &b)
	greets := sd.wantEntryLocked(c, seen, mv, &b)
	if !only {
		sd.greets = greets
		sd.keepBeforeLocked(&was, &b)
	}
}

// movedTopicLocked is the topic that shall be: a migration's, or the one from before it.
// kept is the one that the rules keep.
func (sd *side) movedTopicLocked(kept *string, seen string, mv Moving, b *Before) *string {
	switch {
	case mv.Topic != "":
		if b.Topic == nil && !sameTopic(seen, mv.Topic) {
			topic := seen
			if kept != nil {
				topic = *kept
			}
			b.Topic = &topic
		}
		if sameTopic(seen, mv.Topic) {
			return nil // the server may have cut it
		}
		return &mv.Topic
	case b.Topic != nil && seen != *b.Topic:
		return b.Topic
	}
	b.Topic = nil
	return kept
}

// keepBeforeLocked notes how the place was, if that changed.
func (sd *side) keepBeforeLocked(was, b *Before) {
	r := sd.room
	if !r.armed || was.equal(b) {
		return
	}
	before := maps.Clone(r.before)
	if before == nil {
		before = map[string]Before{}
	}
	before[sd.place.String()] = *b
	if b.equal(&Before{}) {
		delete(before, sd.place.String())
	}
	r.before = before
	r.keepLocked()
}

// wantForwardLocked has the server send people on, where it can.
func (sd *side) wantForwardLocked(c *policy.Channel, seen *policy.ChannelSeen, mv Moving, b *Before) {
	mode := byte(redirectMode)
	if sd.caps.Software == policy.Solanum {
		mode = forwardMode
	}
	full := sd.caps.Software == policy.InspIRCd || sd.caps.Software == policy.UnrealIRCd
	switch {
	case mv.Forward != "":
		c.Params = append(c.Params, policy.Param{Mode: mode, Value: mv.Forward})
		if full {
			c.Params = append(c.Params, policy.Param{Mode: limitMode, Value: "1"})
		}
		b.Forward = true
	case b.Forward && seen.Params[mode] == "":
		b.Forward = false
	case b.Forward:
		c.Params = append(c.Params, policy.Param{Mode: mode})
		if full {
			c.Params = append(c.Params, policy.Param{Mode: limitMode})
		}
	}
}

// entryMost is what an entry message of ChanServ may have, in bytes: it stands in one line
// with the words around it.
const entryMost = 380

// wantEntryLocked has ChanServ say what is said to who comes in, where it does as the bot
// asks, and what it said before is known; then it greets is true. Else the bot says it.
func (sd *side) wantEntryLocked(c *policy.Channel, seen *policy.ChannelSeen, mv Moving, b *Before) (greets bool) {
	own := sd.ownAccountLocked()
	obeys := sd.caps.Services == policy.Atheme && own != "" && seen.EntryMsg != nil && slices.ContainsFunc(slices.Collect(maps.Keys(seen.Access)), func(account string) bool {
		return strings.EqualFold(account, own) && strings.Contains(seen.Access[account], "s")
	})
	switch {
	case !obeys:
		return false
	case mv.Entry != "":
		want := strings.ReplaceAll(mv.Entry, "\n", " / ")
		if len(want) > entryMost {
			want, _, _ = strings.Cut(mv.Entry, "\n")
		}
		if len(want) > entryMost {
			return false
		}
		if !sameTopic(*seen.EntryMsg, want) {
			if b.EntryMsg == nil {
				before := *seen.EntryMsg
				b.EntryMsg = &before
			}
			c.EntryMsg = &want
			acts, _ := sd.actsLocked()
			return acts && sd.holds && sd.room.armed // else nobody asks ChanServ
		}
		return true
	case b.EntryMsg != nil && !sameTopic(*seen.EntryMsg, *b.EntryMsg):
		c.EntryMsg = b.EntryMsg
	default:
		b.EntryMsg = nil
	}
	return false
}

// leastTopic is what a server leaves of a topic at least.
const leastTopic = 80

// sameTopic compares topics, of which a server may have cut one.
func sameTopic(seen, want string) bool {
	return seen == want || len(seen) >= leastTopic && strings.HasPrefix(want, seen)
}

func (b *Before) equal(o *Before) bool {
	same := func(x, y *string) bool { return x == nil && y == nil || x != nil && y != nil && *x == *y }
	return same(b.Topic, o.Topic) && same(b.EntryMsg, o.EntryMsg) && b.Set == o.Set && b.Forward == o.Forward
}

// entryLocked tells somebody who came into a place that people leave where to go, unless
// ChanServ does.
func (sd *side) entryLocked(sub *subject, now time.Time) {
	words := sd.room.g.movingOf(sd.place).Entry
	if words == "" || sd.greets && !sd.down || sub.here || sub.facts.Self || sub.peer != nil || !sd.room.armed || len(sd.words) >= maxWords {
		return
	}
	if acts, _ := sd.actsLocked(); !acts {
		return
	}
	key := "entry " + sd.place.String() + " " + sub.facts.Nick
	if at, told := sd.room.entries[key]; told && now.Sub(at) < entryEvery && !now.Before(at) {
		return
	}
	if len(sd.room.entries) >= maxTold {
		clear(sd.room.entries)
	}
	sd.room.entries[key] = now
	for line := range strings.SplitSeq(words, "\n") {
		sd.words = append(sd.words, whisper{sub.facts.Nick, line})
	}
	poke(sd.wake)
}

// entryEvery is how often the same nick hears where to go.
const entryEvery = time.Hour

// closedByMove reports whether nothing is relayed to or from a place any more.
func (sd *side) closedByMove() bool {
	return sd.room.armed && sd.room.g.movingOf(sd.place).Closed
}

// Note adds a line to the audit of what others did beside this guard: of a migration, of
// links.
func (g *Guard) Note(a Act) { g.scribe.note(&a) }

// HeldBy says why a place is not held now, for gates of a migration; "": it is. With
// closing it also says why the place would stay open if it were closed now.
func (g *Guard) HeldBy(place bridge.Room, closing bool) string {
	sd := g.table.Load().sides[place]
	if sd == nil {
		return place.String() + " is not guarded"
	}
	r := sd.room
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !r.armed:
		return "room " + r.name + " is in dry run (drawbridge guard enable " + r.name + ")"
	case !sd.ready:
		return place.String() + " is out of the bot's sight"
	case !sd.holds:
		return place.String() + " is not held: the bot has no right to change it"
	case closing:
		if why := sd.staysOpenLocked(g.now()); why != "" {
			return place.String() + " would stay open: " + why
		}
	}
	return ""
}
