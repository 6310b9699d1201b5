package irc

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// A transcript with "# config: guard=#a,#b" has these channels guarded: what the
// watcher sees stands in the transcript as records, beside those of the Sink.

func (p *play) guard(file string) {
	script, err := os.ReadFile(file)
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(script)) {
		if _, rest, ok := strings.Cut(line, "guard="); ok && strings.HasPrefix(line, "# config:") {
			p.watchRooms(strings.Fields(rest)[0])
		}
	}
}

func (p *play) watchRooms(names string) {
	var rooms []bridge.Room
	for name := range strings.SplitSeq(names, ",") {
		rooms = append(rooms, Room("net", name))
	}
	p.leg.Watch(p.rec, rooms)
}

// See is the watcher's part of the recorder.
func (r *recorder) See(s *bridge.Sight) { r.add("%s", showSight(s)) }

var sightNames = map[bridge.SightKind]string{
	bridge.SightReady: "ready", bridge.SightLost: "lost", bridge.SightHere: "here", bridge.SightCame: "came",
	bridge.SightChanged: "changed", bridge.SightWent: "went", bridge.SightSaid: "said", bridge.SightRights: "rights",
	bridge.SightMode: "mode", bridge.SightMerged: "merged", bridge.SightServices: "services", bridge.SightRefused: "refused",
	bridge.SightInvited: "invited",
}

func showSight(s *bridge.Sight) string {
	out := []string{"*" + sightNames[s.Kind]}
	if s.Room.Name != "" {
		out = append(out, s.Room.Name)
	}
	if s.Facts.Nick != "" {
		out = append(out, showFacts(&s.Facts))
	}
	add := func(on bool, format string, args ...any) {
		if on {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	add(s.Rights != "", "has=%s", s.Rights)
	add(s.Old != "", "was=%s", s.Old)
	add(s.Self, "self")
	add(s.Split, "split")
	add(s.Kind == bridge.SightServices, "down=%v", s.Down)
	add(s.Later, "later")
	add(s.Kind == bridge.SightSaid, "letters=%d capitals=%d highlights=%d", s.Said.Letters, s.Said.Capitals, s.Said.Highlights)
	add(s.What != "", "[%s]", s.What)
	by := "by"
	if s.By.Server {
		by = "by-server"
	}
	add(s.By.Nick != "", "%s %s", by, s.By.Nick)
	add(s.Text != "", ": %s", s.Text)
	return strings.Join(out, " ")
}

// showFacts is nick!user@host{account cert tls}: a value or yes, - is known not to
// be, ? is unknown, x is never told.
func showFacts(f *policy.Facts) string {
	return fmt.Sprintf("%s!%s@%s{%s %s %s}", f.Nick, f.User, f.Host, showFact(f.Account), showFact(f.Cert), showFact(f.TLS))
}

func showFact(f policy.Fact) string {
	switch {
	case f.Known == policy.Yes && f.Value != "":
		return f.Value
	case f.Known == policy.Yes:
		return "yes"
	}
	return map[policy.Known]string{policy.No: "-", policy.Unknown: "?", policy.Never: "x"}[f.Known]
}

// doGuard carries out what a guard does.
func (p *play) doGuard(verb, rest string) bool {
	room, words, _ := strings.Cut(rest, " ")
	switch verb {
	case "watch": // CHANNEL,…
		p.watchRooms(rest)
	case "apply": // CHANNEL LINE[;LINE…]
		var c bridge.Changes
		for line := range strings.SplitSeq(words, ";") {
			c.Lines = append(c.Lines, parseCommand(line))
		}
		p.wg.Go(func() {
			if err := p.leg.Apply(p.ctx, Room("net", room), c); p.ctx.Err() == nil {
				p.rec.add("applied %v", err)
			}
		})
	case "lookup": // CHANNEL NICK…: all that can be missing of each
		for nick := range strings.FieldsSeq(words) {
			p.leg.Lookup(Room("net", room), nick, policy.MissingAccount|policy.MissingCert|policy.MissingTLS)
		}
	case "lookup-tls":
		for nick := range strings.FieldsSeq(words) {
			p.leg.Lookup(Room("net", room), nick, policy.MissingTLS)
		}
	case "whisper": // CHANNEL NICK WORDS
		nick, say, _ := strings.Cut(words, " ")
		p.leg.Whisper(Room("net", room), nick, say)
	case "find": // NICK
		p.wg.Go(func() {
			f, err := p.leg.Find(p.ctx, rest)
			if p.ctx.Err() == nil {
				p.rec.add("found %s %v", showFacts(&f), err)
			}
		})
	case "observe": // CHANNEL
		p.wg.Go(func() {
			o, err := p.leg.Observe(p.ctx, Room("net", room))
			if p.ctx.Err() == nil {
				p.rec.add("observed %s", showObserved(o, err))
			}
		})
	case "doors": // CHANNEL ACCOUNT: invite only, accounts speak, TLS only; mutes and bans
		p.wg.Go(func() { p.doors(Room("net", room), words) })
	default:
		return false
	}
	return true
}

// doors looks at a channel and closes it, in the words of its network.
func (p *play) doors(room bridge.Room, account string) {
	o, err := p.leg.Observe(p.ctx, room)
	if err != nil {
		p.rec.add("observed %v", err)
		return
	}
	want, caps := policy.Channel{Name: room.Name}, o.ChannelCaps
	cannot := caps.Open(policy.Doors{InviteOnly: true, Registered: true, RegisteredSpeak: true, TLS: true, Accounts: []string{account}}, &want)
	ban := func(mode byte, entry string, ok bool) {
		if ok {
			want.Lists = append(want.Lists, policy.List{Mode: mode, Want: []string{entry}})
		}
	}
	mask, ok := caps.UnregisteredMask()
	ban('b', mask, ok)
	mask, ok = caps.CertMask("0123456789abcdef0123456789abcdef")
	ban('b', mask, ok)
	mode, mask, ok := caps.Mute("evil!*@*")
	ban(mode, mask, ok)
	for nick := range o.Channel.Present {
		if nick[0] == 'x' {
			want.Remove = append(want.Remove, policy.Removal{Nick: nick, Reason: "out"})
		}
	}
	slices.SortFunc(want.Remove, func(a, b policy.Removal) int { return strings.Compare(a.Nick, b.Nick) })
	lines, err := policy.PlanChannel(want, o.Channel, caps, len(want.Remove))
	if err == nil {
		err = p.leg.Apply(p.ctx, room, bridge.Changes{Lines: lines})
	}
	if p.ctx.Err() == nil {
		p.rec.add("closed %v; cannot: %d", err, len(cannot))
	}
}

// parseCommand is the reverse of policy.Command.Line.
func parseCommand(line string) policy.Command {
	head, last, found := strings.Cut(line, " :")
	f := strings.Fields(head)
	if found {
		f = append(f, last)
	}
	return policy.Command{Verb: f[0], Params: f[1:]}
}

func showObserved(o bridge.Observed, err error) string {
	if err != nil {
		return err.Error()
	}
	c := o.Channel
	out := fmt.Sprintf("+%s key=%s topic=%q holds=%v plain=%v down=%v", c.Flags, c.Key, c.Topic, o.Holds, c.PlainText, o.ServicesDown)
	for _, mode := range slices.Sorted(maps.Keys(c.Lists)) {
		out += fmt.Sprintf(" %c=%s", mode, strings.Join(c.Lists[mode], ","))
	}
	for _, nick := range slices.Sorted(maps.Keys(c.Present)) {
		out += " " + nick + ":" + c.Present[nick]
		if account := c.Accounts[nick]; account != "" {
			out += "(" + account + ")"
		}
	}
	if c.AccessHidden {
		out += " access hidden"
	}
	if c.MLock != "" || c.TopicLock || len(c.Access) > 0 {
		out += fmt.Sprintf(" mlock=%s topiclock=%v", c.MLock, c.TopicLock)
		for _, a := range slices.Sorted(maps.Keys(c.Access)) {
			out += " access:" + a + "=" + c.Access[a]
		}
	}
	if c.EntryMsg != nil {
		out += ` entrymsg="` + *c.EntryMsg + `"`
	}
	return out
}
