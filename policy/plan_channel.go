package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// ErrTooMany is returned for a plan that removes more subjects than it may.
var ErrTooMany = errors.New("policy: would remove too many at once")

// Channel is the state an IRC channel shall have. What it does not speak of is
// left as it is: entries of lists that others set, other modes.
type Channel struct {
	Name       string
	Set, Clear string  // flags by letter
	Key        *string // nil: left alone; "": none
	Params     []Param // other modes with a parameter
	Lists      []List
	Status     []Status
	Remove     []Removal
	Topic      *string // nil: left alone
	MLock      string  // ChanServ's mode lock, as "+ntR-i"; "": left alone
	TopicLock  bool    // ChanServ keeps the topic
	// EntryMsg is what ChanServ says to who comes in; nil: left alone; "": nothing.
	EntryMsg *string
	Access   []Access
}

// List is what shall stand in a list (b, e, I, q), and what shall not.
type List struct {
	Mode       byte
	Want, Drop []string
}

// Param is a mode with a parameter; Value "": it shall not be set.
type Param struct {
	Mode  byte
	Value string
}

// Status is what somebody shall have: letters of PREFIX, as "o".
type Status struct{ Nick, Give, Take string }

// Removal is somebody to kick.
type Removal struct{ Nick, Reason string }

// Access is what ChanServ shall give an account: letters of Atheme's flags.
type Access struct{ Account, Flags string }

// ChannelSeen is the state an IRC channel has.
type ChannelSeen struct {
	Flags     string            // by letter
	Key       string            // "": none
	Params    map[byte]string   // modes with a parameter that are set, beside lists and key
	Lists     map[byte][]string // as the server writes them
	Present   map[string]string // nick → letters of PREFIX
	PlainText bool              // somebody without TLS is there
	Topic     string
	MLock     string
	TopicLock bool
	EntryMsg  *string           // nil: not known
	Access    map[string]string // account → flags
	// AccessHidden: ChanServ keeps a list, and does not show it to the bot.
	AccessHidden bool
	Accounts     map[string]string // nick → services account, of those who are known to have one
}

// Command is one line to send to an IRC server.
type Command struct {
	Verb    string
	Params  []string
	Removes int // subjects that leave by it
	// Secrets are parameters that nobody is shown: keys.
	Secrets []string
}

// Words returns the line as it may be shown.
func (c Command) Words() string {
	if len(c.Secrets) > 0 {
		c.Params = slices.Clone(c.Params)
		for i, p := range c.Params {
			if slices.Contains(c.Secrets, p) {
				c.Params[i] = "***"
			}
		}
	}
	return c.Line()
}

// Line returns the line without CR LF; the last parameter follows a colon where
// it needs one.
func (c Command) Line() string {
	var b strings.Builder
	b.WriteString(c.Verb)
	for i, p := range c.Params {
		b.WriteByte(' ')
		if i == len(c.Params)-1 && (p == "" || p[0] == ':' || strings.ContainsRune(p, ' ')) {
			b.WriteByte(':')
		}
		b.WriteString(p)
	}
	return b.String()
}

// want adds an entry to a list.
func (c *Channel) want(mode byte, entry string) {
	for i := range c.Lists {
		if c.Lists[i].Mode == mode {
			c.Lists[i].Want = append(c.Lists[i].Want, entry)
			return
		}
	}
	c.Lists = append(c.Lists, List{Mode: mode, Want: []string{entry}})
}

// PlanChannel returns the fewest lines that lead from seen to want: who loses a
// right first, then who may pass the doors, the doors, the bans, the kicks, and
// only then what needs them done. It is ErrTooMany if more than most would be
// removed. In a channel that is as wanted there is nothing to do.
func PlanChannel(want Channel, seen ChannelSeen, caps ChannelCaps, most int) ([]Command, error) {
	caps = caps.orDefault()
	p := planner{want: &want, seen: &seen, caps: &caps}
	p.status(false)
	p.lists("eI", true)
	p.flags()
	p.key()
	p.paramModes()
	p.lists("", true)
	p.flush()
	if gone := p.kicks(); gone > most {
		return nil, fmt.Errorf("%w: %d from %s, and %d may go", ErrTooMany, gone, want.Name, most)
	}
	p.late()
	p.status(true)
	p.lists("", false)
	p.flush()
	p.topic()
	p.services()
	return p.out, nil
}

// maxLine is what one line may hold, less CR LF (RFC 2812 §2.3).
const maxLine = 510

type planner struct {
	want *Channel
	seen *ChannelSeen
	caps *ChannelCaps
	out  []Command

	// One MODE line under way.
	modes  string
	params []string
	hidden []string // of params
	sign   byte
	n      int
}

// change adds one change of modes to the line, with what must stand in the same
// line behind it.
func (p *planner) change(change string, params ...string) {
	n := len(change) / 2
	size := len("MODE  ") + len(p.want.Name) + len(p.modes) + len(change) + p.caps.Source + 2
	for _, s := range p.params {
		size += 1 + len(s)
	}
	for _, s := range params {
		size += 1 + len(s)
	}
	if p.n > 0 && (p.n+n > p.caps.Modes || size > maxLine) {
		p.flush()
	}
	if change[0] == p.sign {
		change = change[1:]
	}
	p.modes += change
	p.sign = p.modes[strings.LastIndexAny(p.modes, "+-")]
	p.params = append(p.params, params...)
	p.n += n
}

// flush ends the line under way.
func (p *planner) flush() {
	if p.n > 0 {
		p.out = append(p.out, Command{Verb: "MODE", Params: append([]string{p.want.Name, p.modes}, p.params...), Secrets: p.hidden})
	}
	p.modes, p.params, p.hidden, p.sign, p.n = "", nil, nil, 0, 0
}

func (p *planner) flags() {
	for i, c := range p.want.Set {
		if !strings.ContainsRune(p.seen.Flags+p.want.Set[:i], c) && !p.isLate(c) && !p.lockedYet(c, '-') {
			p.change("+" + string(c))
		}
	}
	for _, c := range p.want.Clear {
		if strings.ContainsRune(p.seen.Flags, c) && !strings.ContainsRune(p.want.Set, c) && !p.lockedYet(c, '+') {
			p.change("-" + string(c))
		}
	}
}

// isLate tells the mode for TLS only, which servers refuse while somebody is
// there without.
func (p *planner) isLate(c rune) bool {
	return p.seen.PlainText && c == 'z' && (p.caps.Software == InspIRCd || p.caps.Software == UnrealIRCd)
}

// late sets what had to wait until the kicks were done. The leg sends again
// while somebody without TLS is left.
func (p *planner) late() {
	for _, c := range p.want.Set {
		if p.isLate(c) && !strings.ContainsRune(p.seen.Flags, c) && len(p.want.Remove) > 0 {
			p.change("+" + string(c))
		}
	}
}

// key sets the key. InspIRCd ignores a new key over an old one and takes "-k"
// with the old one only, both in one line.
func (p *planner) key() {
	k := p.want.Key
	switch {
	case k == nil || *k == p.seen.Key:
	case *k == "":
		p.secret("-k", p.seen.Key)
	case p.seen.Key == "":
		p.secret("+k", *k)
	default:
		p.secret("-k+k", p.seen.Key, *k)
	}
}

// paramModes sets and takes modes with a parameter, where the server has them.
func (p *planner) paramModes() {
	for _, x := range p.want.Params {
		has, is := p.seen.Params[x.Mode]
		always := strings.IndexByte(p.caps.ParamModes, x.Mode) >= 0
		switch {
		case !always && strings.IndexByte(p.caps.SetModes, x.Mode) < 0, x.Value == has:
		case x.Value != "":
			p.change("+"+string(rune(x.Mode)), x.Value)
		case is && always:
			p.change("-"+string(rune(x.Mode)), has)
		case is:
			p.change("-" + string(rune(x.Mode)))
		}
	}
}

// secret is change, with parameters that nobody is shown.
func (p *planner) secret(change string, params ...string) {
	p.change(change, params...)
	p.hidden = append(p.hidden, params...)
}

// lists adds what misses, or drops what is too much: of the lists given, or of
// all others.
func (p *planner) lists(which string, add bool) {
	for _, l := range p.want.Lists {
		first := strings.IndexByte("eI", l.Mode) >= 0
		if which != "" && !first || which == "" && first && add || !strings.Contains(p.caps.ListModes, string(l.Mode)) {
			continue
		}
		have := map[string]bool{}
		for _, m := range p.seen.Lists[l.Mode] {
			have[foldMaskEntry(m)] = true
		}
		if !add {
			for _, m := range l.Drop {
				if f := foldMaskEntry(m); have[f] {
					p.change("-"+string(l.Mode), m)
					delete(have, f)
				}
			}
			continue
		}
		for _, m := range l.Want {
			if f := foldMaskEntry(m); !have[f] && len(have) < p.caps.MaxList {
				p.change("+"+string(l.Mode), m)
				have[f] = true
			}
		}
	}
}

// foldMaskEntry compares entries of a list.
func foldMaskEntry(s string) string {
	b := []byte(s)
	for i := range b {
		b[i] = lower(b[i])
	}
	return string(b)
}

func (p *planner) status(give bool) {
	for _, s := range p.want.Status {
		has, here := p.seen.Present[s.Nick]
		if !here || p.leaves(s.Nick) {
			continue
		}
		if give {
			for _, c := range s.Give {
				if !strings.ContainsRune(has, c) {
					p.change("+"+string(c), s.Nick)
				}
			}
			continue
		}
		for _, c := range s.Take {
			if strings.ContainsRune(has, c) && !strings.ContainsRune(s.Give, c) {
				p.change("-"+string(c), s.Nick)
			}
		}
	}
}

func (p *planner) leaves(nick string) bool {
	for _, r := range p.want.Remove {
		if r.Nick == nick {
			return true
		}
	}
	return false
}

// kicks puts as many as the network takes into each line: one line a person is
// what makes a bot slow in a flood. It returns how many go.
func (p *planner) kicks() int {
	done, gone := map[string]bool{}, 0
	for i, first := range p.want.Remove {
		line := Command{Verb: "KICK", Params: []string{p.want.Name, "", cut(first.Reason, maxLine-p.caps.Source-len(p.want.Name)-80)}}
		for _, r := range p.want.Remove[i:] {
			_, here := p.seen.Present[r.Nick]
			if done[r.Nick] || !here || r.Reason != first.Reason {
				continue
			}
			next := r.Nick
			if line.Params[1] != "" {
				next = line.Params[1] + "," + r.Nick
			}
			if line.Removes == p.caps.KickTargets || len("KICK   :")+len(p.want.Name)+len(next)+len(line.Params[2]) > maxLine && line.Removes > 0 {
				p.out = append(p.out, line)
				line.Removes, next = 0, r.Nick
				line.Params = []string{p.want.Name, "", line.Params[2]}
			}
			line.Params[1] = next
			line.Removes++
			gone++
			done[r.Nick] = true
		}
		if line.Removes > 0 {
			p.out = append(p.out, line)
		}
	}
	return gone
}

func (p *planner) topic() {
	if t := p.want.Topic; t != nil && *t != p.seen.Topic {
		p.out = append(p.out, Command{Verb: "TOPIC", Params: []string{p.want.Name, *t}})
	}
}

// cut shortens text to at most n bytes, between characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
