package bridge

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// tellEvery is how often the same thing is told to the same room.
const tellEvery = time.Hour

// ownRow makes a row of the bot's own words to a room of b; nil without b.
func (c *Core) ownRow(b *bridgeState, to Room, text string) *Row {
	if b == nil {
		return nil
	}
	now := c.now()
	r := &Row{
		ID: c.ids.next(), Bridge: b.cfg.Name, To: to, Kind: RowOwn,
		Text: NewText(text), Said: now, Queued: now, ledger: b.ledger,
	}
	if m := b.byRoom[to]; m != nil {
		r.Floor = m.floor
	}
	return r
}

// say says the bot's own words to m: sealed where its floor asks for it, and
// dropped where that cannot be.
func (c *Core) say(m *member, text string) { m.out.say(c.ownRow(m.bridge, m.room, text)) }

// sayNow is say, for words that are worth nothing later.
func (c *Core) sayNow(m *member, text string) {
	r := c.ownRow(m.bridge, m.room, text)
	r.fleeting = true
	m.out.say(r)
}

// welcome says hello in a room that has just become ready: to a person of an
// encrypted bridge once in each of their sessions (one sealed line is what turns
// Psi's encryption on), and to a channel or MUC what its bridge announces, once.
func (c *Core) welcome(t *table, o *outbox) {
	for _, m := range t.routes[o.room] {
		switch {
		case m.room.Kind == Chat && m.floor.Encrypted():
			c.say(m, m.greeting())
		case m.room.Kind != Chat && m.bridge.cfg.Announce != "" && o.firstTime(m.bridge.cfg.Name):
			c.say(m, m.bridge.cfg.Announce)
		}
	}
}

// greeting is what a person of an encrypted bridge hears first.
func (m *member) greeting() string {
	var others []string
	for _, o := range m.to {
		others = append(others, o.display())
	}
	text := fmt.Sprintf("Encrypted bridge %q: what you write here goes to %s. Please answer encrypted; !help lists the commands.",
		m.bridge.cfg.Name, listed(others, 8))
	if w := m.bridge.clearWarning(); w != "" {
		text += " " + strings.ToUpper(w[:1]) + w[1:] + "."
	}
	return text
}

// display names a room for people.
func (m *member) display() string {
	if m.room.Kind == Chat {
		return m.room.Name
	}
	return m.room.String()
}

// clearWarning names the rooms of an encrypted bridge whose entries say that
// they are clear, "" if there are none.
func (b *bridgeState) clearWarning() string {
	if !b.cfg.Floor.Encrypted() {
		return ""
	}
	var clear []string
	for _, m := range b.members {
		if m.says {
			clear = append(clear, m.display())
		}
	}
	if clear == nil {
		return ""
	}
	return "this bridge also speaks in clear in " + strings.Join(clear, ", ")
}

// listed joins names, the first limit of them.
func listed(names []string, limit int) string {
	switch n := len(names); {
	case n == 0:
		return "nobody"
	case n > limit:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:limit], ", "), n-limit)
	default:
		return strings.Join(names, ", ")
	}
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func missedText(n int) string {
	return plural(n, "line", "lines") + " missed while you were away."
}

// bounces gathers what could not be delivered, to tell the sender's side: one
// notice for each destination and hour, with count and reason, never text.
type bounces struct {
	mu    sync.Mutex // guards waits
	waits map[bounceKey]*bounce
}

type bounceKey struct {
	bridge   string
	from, to Room
}

type bounce struct {
	n      int
	parked int       // of them, kept for the operator
	reason string    // the latest
	told   time.Time // the last notice
}

func newBounces() *bounces { return &bounces{waits: map[bounceKey]*bounce{}} }

func (b *bounces) add(r *Row, reason string, parked bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := bounceKey{r.Bridge, r.From, r.To}
	w := b.waits[k]
	if w == nil {
		w = &bounce{}
		b.waits[k] = w
	}
	w.n++
	if parked {
		w.parked++
	}
	w.reason = reason
}

// flush sends the notices that are due; all of them at the end.
func (b *bounces) flush(c *Core, last bool) {
	type note struct {
		key bounceKey
		bounce
	}
	var notes []note
	now := c.now()
	b.mu.Lock()
	for k, w := range b.waits {
		switch {
		case w.n > 0 && (last || now.Sub(w.told) >= tellEvery):
			notes = append(notes, note{k, *w})
			w.n, w.parked, w.told = 0, 0, now
		case w.n == 0 && now.Sub(w.told) >= tellEvery:
			delete(b.waits, k)
		}
	}
	b.mu.Unlock()
	t := c.table.Load()
	for _, n := range notes {
		c.log.Warn("lines not delivered", "leg", n.key.to.Leg, "room", n.key.to.Name, "n", n.n, "err", n.reason)
		to := n.key.to.Name
		if n.key.to.Kind != Chat {
			to = n.key.to.String()
		}
		if n.parked > 0 {
			c.TellAdmins(fmt.Sprintf("%s for %s parked, of bridge %q: %s. See drawbridge store dead.", plural(n.parked, "line", "lines"), to, n.key.bridge, n.reason))
		}
		br := t.byName[n.key.bridge]
		if br == nil || br.byRoom[n.key.from] == nil {
			continue
		}
		c.say(br.byRoom[n.key.from], fmt.Sprintf("%s not delivered to %s: %s.", plural(n.n, "line", "lines"), to, n.reason))
	}
}
