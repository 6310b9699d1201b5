package bridge

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"drawbridge/policy"
)

// chatCommand is one row of the table of chat commands.
type chatCommand struct {
	name string
	help string
	// ends is set where the command may begin or end a pause: it is heard in one,
	// and the dispatcher carries it out itself, before the next line.
	ends bool
	run  func(c *Core, q *question) string
}

// chatCommands lists what people may ask the bot in a room. Nicks prove nobody, so
// in a channel or MUC none of them administers anything; a channel's operator may
// pause the bridge there, as they could remove the bot. Orders about keys and guarded
// rooms are heard in a person's own encrypted chat (trustOrders, guardOrders,
// migrateOrders), and so are invitations (Proofs).
func chatCommands() []chatCommand {
	return []chatCommand{
		{name: "!help", help: "lists the commands", run: (*Core).answerHelp},
		{name: "!who", help: "who is in the other rooms", run: (*Core).answerWho},
		{name: "!status", help: "how the bridge is doing", run: (*Core).answerStatus},
		{name: "!trust", help: "how far each line is protected, and by which keys", run: (*Core).answerTrust},
		{name: "!guard", help: "who may come in, and why: admins only", run: (*Core).answerGuard},
		{name: "!invite", help: "NETWORK/CHANNEL NICK: invites you, once you have proven who you are", run: (*Core).answerProof},
		{name: "!migrate", help: "how the way off IRC goes: admins only", run: (*Core).answerMigrate},
		{name: "!link", help: "joins your account on IRC and your Jabber account: write it to me alone", run: (*Core).answerLink},
		{name: "!move", help: "your own way from IRC to Jabber: write it to me alone, on IRC", run: (*Core).answerMove},
		{name: "!bridge", help: "pause 1h | resume: channel operators only", ends: true, run: (*Core).answerBridge},
	}
}

// maxPause bounds a pause.
const maxPause = 24 * time.Hour

// findCommand returns the command that text asks for, nil if it is none.
func findCommand(text string) *chatCommand {
	if len(text) < 2 || text[0] != '!' {
		return nil
	}
	word, _, _ := strings.Cut(text, " ")
	word = strings.TrimRight(word, "\r\n")
	for _, cmd := range chatCommands() {
		if strings.EqualFold(cmd.name, word) {
			return &cmd
		}
	}
	return nil
}

// question is a command on its way to the goroutine that answers.
type question struct {
	msg    Message
	member *member
	answer string // made already, by a command that cannot wait
	claim  bool   // it is for Proofs
}

// private reports whether the answer is read by a configured person alone.
func (q *question) private() bool {
	return q.member.room.Kind == Chat && q.msg.From.Person != ""
}

// ask hands a question over; too many at once are dropped.
func (c *Core) ask(q question) {
	select {
	case c.answers <- q:
	default:
		c.log.Warn("too many questions at once", "leg", q.member.room.Leg, "room", q.member.room.Name)
	}
}

// answer answers questions until ctx ends.
func (c *Core) answer(ctx context.Context) {
	rate := newAskRate()
	for {
		select {
		case <-ctx.Done():
			return
		case q := <-c.answers:
			// None of the orders that people give may get lost in silence: who revokes many
			// keys does it at once.
			if !(q.private() && (q.claim || q.isOrder())) && !rate.allow(q.member.room, c.now()) {
				continue
			}
			c.reply(ctx, &q)
		}
	}
}

// reply answers one question.
func (c *Core) reply(ctx context.Context, q *question) {
	defer c.contain("answer")
	text := q.answer
	switch {
	case text != "":
	case q.claim:
		text = c.prove(ctx, q)
	case q.isOrder():
		text = c.order(ctx, q)
	default:
		text = c.answerTo(q)
	}
	if !q.private() {
		text = Shorten(text, publicAnswer)
	}
	c.sayNow(q.member, text)
}

// publicAnswer bounds what one question costs a channel or MUC, in bytes.
const publicAnswer = 1000

// answerTo makes the answer to q. A panic below, in a leg's status, is contained
// by legState.
func (c *Core) answerTo(q *question) string {
	if cmd := findCommand(q.msg.Text.s); cmd != nil {
		return cmd.run(c, q)
	}
	return "!help lists the commands."
}

// askRate allows each room askBurst answers at once, and one more each askEvery.
type askRate struct{ rooms map[Room]askBucket }

func newAskRate() *askRate { return &askRate{rooms: map[Room]askBucket{}} }

type askBucket struct {
	left int
	at   time.Time
}

const (
	askBurst = 4
	askEvery = 5 * time.Second
)

func (a *askRate) allow(room Room, now time.Time) bool {
	b, ok := a.rooms[room]
	if !ok {
		b = askBucket{askBurst, now}
	}
	if n := int(now.Sub(b.at) / askEvery); n > 0 {
		b.left = min(askBurst, b.left+n)
		b.at = b.at.Add(time.Duration(n) * askEvery)
	}
	ok = b.left > 0
	if ok {
		b.left--
	}
	a.rooms[room] = b
	return ok
}

func (c *Core) answerHelp(q *question) string {
	var parts []string
	for _, cmd := range chatCommands() {
		if cmd.ends && q.member.room.Kind == Chat || cmd.name == "!guard" && (c.guard == nil || !q.private()) ||
			cmd.name == "!invite" && (c.proofs == nil || !q.private()) || cmd.name == "!migrate" && (c.migrate == nil || !q.private()) || cmd.name == "!link" && c.asides["!link"] == nil || cmd.name == "!move" && !c.serves("!move", q.member.room) {
			continue
		}
		parts = append(parts, cmd.name+" "+cmd.help)
	}
	return fmt.Sprintf("Bridge %q. %s. A %q after a name: looks like somebody known here, and is not proven to be.",
		q.member.bridge.cfg.Name, strings.Join(parts, "; "), doubtMark)
}

// roomStatuses returns what the legs say about their rooms now.
func (c *Core) roomStatuses() map[Room]RoomStatus {
	rooms := map[Room]RoomStatus{}
	for _, l := range *c.legs.Load() {
		for _, r := range l.status().Rooms {
			rooms[r.Room] = r
		}
	}
	return rooms
}

// others returns the rooms of the asker's bridges beside their own, as the
// routing table of now has them.
func (c *Core) others(q *question) []*member {
	b := c.table.Load().byName[q.member.bridge.cfg.Name]
	if b == nil || b.byRoom[q.member.room] == nil {
		return nil
	}
	return b.byRoom[q.member.room].to
}

func (c *Core) answerWho(q *question) string {
	rooms := c.roomStatuses()
	var parts []string
	for _, m := range c.others(q) {
		r := rooms[m.room]
		if m.room.Kind == Chat {
			word := "away"
			if r.State == StateUp {
				word = "here"
			}
			if q.private() && r.Scheme != "" {
				word += ", " + r.Scheme
			}
			parts = append(parts, fmt.Sprintf("%s (%s)", m.room.Name, word))
			continue
		}
		var names []string
		for _, n := range r.Members {
			names = append(names, c.whoIs(q, m, n, r.Accounts[n]))
		}
		slices.Sort(names)
		parts = append(parts, fmt.Sprintf("%s: %s", m.display(), listed(names, 30)))
	}
	return strings.Join(parts, "; ") + "."
}

// whoIs names somebody who is in a room. Who is logged in to a person's account is that
// person, which people of the bridge are told in their own chats.
func (c *Core) whoIs(q *question, m *member, nick, account string) string {
	s := Sender{Nick: nick}
	if account != "" {
		s.Person = c.table.Load().accounts[ircAccount{m.room.Leg, policy.FoldAccount(account)}]
	}
	name := m.bridge.names.show(s)
	if s.Person != "" && q.private() && !strings.EqualFold(name, s.Person) {
		name += " = " + s.Person
	}
	return name
}

func (c *Core) answerStatus(q *question) string {
	rooms := c.roomStatuses()
	now := c.now()
	var parts []string
	for _, m := range c.others(q) {
		st := m.out.status(now)
		part := fmt.Sprintf("%s %s", m.display(), rooms[m.room].State)
		if st.Waiting > 0 {
			part += ", " + plural(st.Waiting, "line waits", "lines wait")
			if st.Held != "" && q.private() {
				part += " (" + st.Held + ")"
			}
		}
		parts = append(parts, part)
	}
	text := fmt.Sprintf("Bridge %q: %s.", q.member.bridge.cfg.Name, strings.Join(parts, "; "))
	if w := q.member.bridge.clearWarning(); w != "" {
		text += " " + strings.ToUpper(w[:1]) + w[1:] + "."
	}
	return text
}

func orNone(s string) string {
	if s == "" {
		return "nothing yet"
	}
	return s
}

// answerBridge lets an operator of a channel or MUC pause the bridge there.
func (c *Core) answerBridge(q *question) string {
	if q.member.room.Kind == Chat || !q.msg.From.Op {
		return "Only an operator of the channel can pause the bridge there."
	}
	words := strings.Fields(q.msg.Text.s)
	now := c.now()
	by := q.member.bridge.names.show(q.msg.From)
	switch {
	case len(words) == 3 && strings.EqualFold(words[1], "pause"):
		d, err := time.ParseDuration(words[2])
		if err != nil || d <= 0 || d > maxPause {
			return "How long? From 1m to 24h, such as: !bridge pause 1h"
		}
		q.member.out.pause(now.Add(d))
		c.log.Info("paused by an operator", "leg", q.member.room.Leg, "room", q.member.room.Name, "from", by, "took", d)
		c.tellOthers(q, fmt.Sprintf("%s paused the bridge in %s for %s: lines from there do not come here, and lines for it wait.", by, q.member.display(), d))
		return fmt.Sprintf("Paused for %s: nothing goes out of this room, and what is said elsewhere waits. !bridge resume ends it.", d)
	case len(words) == 2 && strings.EqualFold(words[1], "resume"):
		if _, on := q.member.out.pausedUntil(now); !on {
			return "The bridge is not paused here."
		}
		q.member.out.pause(time.Time{})
		c.log.Info("resumed by an operator", "leg", q.member.room.Leg, "room", q.member.room.Name, "from", by)
		c.tellOthers(q, fmt.Sprintf("The bridge works in %s again.", q.member.display()))
		return "The bridge works here again."
	}
	return "Usage: !bridge pause 1h | !bridge resume"
}

// tellOthers says something in the other rooms of every bridge of the room.
// Who pauses and resumes all the time is not repeated.
func (c *Core) tellOthers(q *question, text string) {
	if !c.pauses.allow(q.member.room, c.now()) {
		return
	}
	for _, from := range c.table.Load().routes[q.member.room] {
		for _, m := range from.to {
			c.say(m, text)
		}
	}
}
