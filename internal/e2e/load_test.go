//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"drawbridge/internal/lab"
)

// soak is how many times longer than in the tests the fault scenarios last: the
// SOAK of `make soak`, else 1.
func soak() int {
	n, _ := strconv.Atoi(os.Getenv("SOAK"))
	return max(1, min(n, 20))
}

// load is people who go on talking while things break, and readers who remember
// what arrived.
type load struct {
	h        *house
	speakers []*speaker
	readers  []*reader
	stop     chan struct{}
	wg       sync.WaitGroup
}

// speaker says numbered lines.
type speaker struct {
	name  string
	every time.Duration

	mu    sync.Mutex // guards say and said
	say   func(text string)
	said  int
	first int // of the lines that are judged next
}

// reader is somebody who hears some of the speakers.
type reader struct {
	name string
	// next returns the texts that came since the last call, in order.
	next func() []string
	// from names the speakers whose lines have to arrive here.
	from []string
	read map[string][]int
}

// speaks adds a speaker who says a line every so often once the load is started.
func (l *load) speaks(name string, every time.Duration, say func(text string)) *speaker {
	s := &speaker{name: name, every: every, say: say, first: 1}
	l.speakers = append(l.speakers, s)
	return s
}

// reads adds a reader who has to hear the named speakers.
func (l *load) reads(name string, next func() []string, from ...string) *reader {
	r := &reader{name: name, next: next, from: from, read: map[string][]int{}}
	l.readers = append(l.readers, r)
	return r
}

// start lets everybody speak until end.
func (l *load) start() {
	l.stop = make(chan struct{})
	for _, s := range l.speakers {
		l.wg.Go(func() {
			t := time.NewTicker(s.every)
			defer t.Stop()
			for {
				select {
				case <-l.stop:
					return
				case <-t.C:
					s.line()
				}
			}
		})
	}
	l.h.Cleanup(l.end)
}

// end silences everybody.
func (l *load) end() {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.wg.Wait()
}

func (s *speaker) line() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.say != nil {
		s.said++
		s.say(loadLine(s.name, s.said))
	}
}

// now replaces how a speaker speaks; nil is silence.
func (s *speaker) now(say func(text string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.say = say
}

// hush silences everybody until the function it returns is called.
func (l *load) hush() (again func()) {
	was := make([]func(string), len(l.speakers))
	for i, s := range l.speakers {
		s.mu.Lock()
		was[i], s.say = s.say, nil
		s.mu.Unlock()
	}
	return func() {
		for i, s := range l.speakers {
			s.now(was[i])
		}
	}
}

func (s *speaker) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said
}

// goesOn waits until everybody who is not silent has said n more lines.
func (l *load) goesOn(n int) {
	l.h.t.Helper()
	for _, s := range l.speakers {
		s.mu.Lock()
		want := s.said + n
		silent := s.say == nil
		s.mu.Unlock()
		if !silent && !lab.Poll(wait, func() bool { return s.count() >= want }) {
			l.h.t.Fatalf("%s does not get to speak", s.name)
		}
	}
}

// collect takes in what the readers have got so far.
func (l *load) collect() {
	for _, r := range l.readers {
		for _, text := range r.next() {
			if sender, n, ok := parseLoadLine(text); ok {
				r.read[sender] = append(r.read[sender], n)
			}
		}
	}
}

// verdicts judges every sender at every reader.
func (l *load) verdicts() map[[2]string]verdict {
	out := map[[2]string]verdict{}
	for _, r := range l.readers {
		for _, s := range l.speakers {
			if slices.Contains(r.from, s.name) {
				out[[2]string{s.name, r.name}] = judge(s.first, s.count(), r.read[s.name])
			}
		}
	}
	return out
}

// settle waits until everything said has been read, or until nothing has come for
// half a minute.
func (l *load) settle() map[[2]string]verdict {
	l.h.t.Helper()
	read := func() (n int) {
		for _, r := range l.readers {
			for _, nums := range r.read {
				n += len(nums)
			}
		}
		return n
	}
	for n, since := -1, time.Now(); time.Since(since) < wait/2; time.Sleep(100 * time.Millisecond) {
		l.collect()
		if now := read(); now != n {
			n, since = now, time.Now()
		}
		v := l.verdicts()
		lost := 0
		for _, one := range v {
			lost += len(one.Lost)
		}
		if lost == 0 {
			break
		}
	}
	// What comes twice may come a moment later.
	l.h.balanced()
	l.collect()
	return l.verdicts()
}

// heard makes a reader's next of a growing list and of what turns one of its
// items into text.
func heardOf(all func() []string, text func(item string) (string, bool)) func() []string {
	n := 0
	return func() []string {
		items := all()
		var out []string
		for _, item := range items[min(n, len(items)):] {
			if s, ok := text(item); ok {
				out = append(out, s)
			}
		}
		n = len(items)
		return out
	}
}

// channelText takes what the bot says in the channel out of a line of IRC. After
// a link that hangs it has another nick for a while.
func channelText(line string) (string, bool) {
	if strings.HasPrefix(line, "@") {
		_, line, _ = strings.Cut(line, " ")
	}
	if !strings.HasPrefix(line, ":"+botName) {
		return "", false
	}
	_, text, ok := strings.Cut(line, " PRIVMSG "+channel+" :")
	return text, ok
}

// roomText takes what the bot says in the room out of a stanza.
func roomText(st string) (string, bool) {
	if !strings.HasPrefix(st, "<message") || !strings.HasPrefix(lab.Attr(st, "from"), devRoom+"/bridge") {
		return "", false
	}
	return lab.Child(st, "body")
}

// sealer is somebody with OpenPGP in this process: gpg would be too slow for a
// load.
type sealer struct {
	h        *house
	own, bot *openpgp.Entity
	signed   string // of the presence
}

func (h *house) sealer(p *person) *sealer {
	h.t.Helper()
	read := func(armored string) *openpgp.Entity {
		keys, err := openpgp.ReadArmoredKeyRing(strings.NewReader(armored))
		h.must(err)
		return keys[0]
	}
	public, err := os.ReadFile(h.dir + "/bot.pub.asc")
	h.must(err)
	return &sealer{h: h, own: read(p.gpg.ExportSecret(p.fpr)), bot: read(string(public)), signed: p.gpg.SignStatus("here")}
}

// login lets the person be online.
func (s *sealer) login(server *lab.XMPPServer, name string) *lab.XMPPUser {
	u := s.h.XMPPUser(server, name, "load")
	u.Presence("<status>here</status><x xmlns='jabber:x:signed'>" + s.signed + "</x>")
	return u
}

// seal makes the children of a message with text.
func (s *sealer) seal(text string) string {
	var b strings.Builder
	aw, err := armor.Encode(&b, "PGP MESSAGE", nil)
	if err != nil {
		panic(err) // nothing is written but to memory
	}
	w, err := openpgp.Encrypt(aw, []*openpgp.Entity{s.bot}, nil, nil, nil)
	if err != nil {
		panic(err)
	}
	_, _ = io.WriteString(w, text)
	_, _ = w.Close(), aw.Close()
	_, x, _ := strings.Cut(b.String(), "\n\n")
	x, _, _ = strings.Cut(x, "\n-----END")
	return "<body>" + scriptedBody + "</body><x xmlns='jabber:x:encrypted'>" + x + "</x>"
}

// open decrypts what the bot said in a stanza.
func (s *sealer) open(st string) (string, bool) {
	if !strings.HasPrefix(st, "<message") || !strings.HasPrefix(lab.Attr(st, "from"), botJID) {
		return "", false
	}
	x, ok := sealedPart(st)
	if !ok {
		return "", false
	}
	block, err := armor.Decode(strings.NewReader("-----BEGIN PGP MESSAGE-----\n\n" + strings.TrimSpace(x) + "\n-----END PGP MESSAGE-----\n"))
	if err != nil {
		return "", false
	}
	m, err := openpgp.ReadMessage(block.Body, openpgp.EntityList{s.own, s.bot}, nil, nil)
	if err != nil {
		return "", false
	}
	text, err := io.ReadAll(m.UnverifiedBody)
	return string(text), err == nil
}

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
	if !lab.Poll(wait, func() bool {
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
	out, errs, code := h.try("audit", "--json")
	var accounts []struct {
		Ledger   ledger
		Balanced bool
	}
	if err := json.Unmarshal([]byte(out), &accounts); err != nil || len(accounts) != 1 {
		h.t.Fatalf("%s: audit: %v\n%s%s", when, err, out, errs)
	}
	if a := accounts[0]; code != 0 || !a.Balanced || !a.Ledger.balanced() {
		h.t.Errorf("%s: audit: exit code %d, balanced: %v: %s", when, code, a.Balanced, a.Ledger)
	}
	return accounts[0].Ledger
}

// window is how many lines may be on their way to an IRC server unconfirmed: so
// many may come twice where the history that tells of them dies.
const window = 6

// pairs are the servers of the longest scenarios.
var pairs = []struct {
	name      string
	irc       func(h *house) *lab.IRCServer
	xmpp      func(h *house) *lab.XMPPServer
	noHistory bool // on IRC
	unknown   int  // how many lines on their way to IRC nobody can be asked about, at any time
}{
	{
		"inspircd+prosody",
		func(h *house) *lab.IRCServer { return h.InspIRCd(lab.InspIRCd{Fast: true, History: true}) },
		func(h *house) *lab.XMPPServer { return h.Prosody(lab.Prosody{Archive: true}) },
		false, 0,
	},
	{
		"ngircd+ejabberd",
		func(h *house) *lab.IRCServer { return h.NgIRCd(lab.NgIRCd{Fast: true}) },
		func(h *house) *lab.XMPPServer { return h.Ejabberd(lab.Ejabberd{}) },
		true, 1,
	},
}

// triangle is the bridge of the fault scenarios: a channel, a room with an archive
// and a person with XEP-0027; carl, dora and alice speak, and dave listens on IRC.
type triangle struct {
	*house
	load  *load
	irc   *lab.IRCServer
	xmpp  *lab.XMPPServer
	toIRC *lab.Proxy // the bot's own links
	toJab *lab.Proxy
	bot   *lab.Proc

	carl, dave         *lab.IRCUser
	dora               *occupant
	alice              *lab.XMPPUser
	sealer             *sealer
	fromIRC, fromRoom  *speaker
	fromAlice          *speaker
	onIRC, inRoom, toA *reader
	resent             uint64 // when it was judged last
}

const triangleConfig = houseConfig + `
people:
  alice: {jids: [alice@localhost], openpgp: ["${alice}"]}
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp:
      account: bot
      people: [alice]
      rooms: [{room: dev@rooms.localhost, require: clear}]
    announce: off
    offline: {lines: 5000}
`

// newTriangle builds it, starts the bot and lets everybody speak every so often.
func newTriangle(h *house, irc *lab.IRCServer, xmpp *lab.XMPPServer, every time.Duration) *triangle {
	h.t.Helper()
	tr := &triangle{house: h, irc: irc, xmpp: xmpp}
	tr.toIRC, tr.toJab = h.Proxy(irc.TLSAddr), h.Proxy(xmpp.Addr)
	h.vars["irc"], h.vars["xmpp"] = localhost(tr.toIRC.Addr), localhost(tr.toJab.Addr)
	xmpp.AddUser(botName, "dora")
	alice := h.person(xmpp, "alice", lab.Key{Created: time.Now().Add(-2 * time.Hour)})
	h.config(triangleConfig)
	tr.sealer = h.sealer(alice)
	tr.peopleOnIRC()
	tr.peopleOnXMPP()
	tr.bot = h.start()
	h.joins(tr.dave, 0)
	h.statusShows(", ready")
	tr.load = &load{h: h}
	tr.fromIRC = tr.load.speaks("carl", every, tr.carlSays())
	tr.fromRoom = tr.load.speaks("dora", every, tr.dora.say)
	tr.fromAlice = tr.load.speaks("alice", every, tr.aliceSays())
	tr.onIRC = tr.load.reads("dave", heardOf(tr.dave.Lines, channelText), "dora", "alice")
	tr.inRoom = tr.load.reads("dora", heardOf(tr.dora.Stanzas, roomText), "carl", "alice")
	tr.toA = tr.load.reads("alice", heardOf(tr.alice.Stanzas, tr.sealer.open), "carl", "dora")
	tr.load.start()
	return tr
}

func (tr *triangle) peopleOnIRC() {
	tr.carl = tr.IRCUser(tr.irc, "carl", channel)
	if tr.irc.Name == "inspircd" {
		tr.carl.Send("MODE " + channel + " +H 1000:1h")
	}
	tr.dave = tr.IRCUser(tr.irc, "dave", channel)
}

func (tr *triangle) peopleOnXMPP() {
	tr.dora = &occupant{tr.XMPPUser(tr.xmpp, "dora", "")}
	tr.dora.JoinRoom(devRoom, "dora")
	tr.alice = tr.sealer.login(tr.xmpp, "alice")
}

func (tr *triangle) carlSays() func(string) {
	carl := tr.carl
	return func(text string) { carl.Say(channel, text) }
}

func (tr *triangle) aliceSays() func(string) {
	alice := tr.alice
	return func(text string) { alice.Chat(botJID, tr.sealer.seal(text)) }
}

// where is what a witness saw: the bot come or go, or a line.
type where struct {
	in, out bool
	line    int
}

// gone returns the lines that no server and no store had for the bot any more:
// those that were said while it was away, and those right before it left that were
// lost too, which lay in the sockets of a process that was killed. A witness is
// always there before the bot.
func gone(seen []where, lost []int) map[int]bool {
	missed := map[int]bool{}
	for _, n := range lost {
		missed[n] = true
	}
	out := map[int]bool{}
	var before []int // lines while the bot was there
	away := true
	for _, w := range seen {
		switch {
		case w.in:
			away, before = false, nil
		case w.out:
			away = true
			for _, n := range slices.Backward(before) {
				if !missed[n] {
					break
				}
				out[n] = true
			}
		case away:
			out[w.line] = true
		default:
			before = append(before, w.line)
		}
	}
	return out
}

// onChannel is what dave saw of the bot and of carl.
func (tr *triangle) onChannel() (seen []where) {
	for _, line := range tr.dave.Lines() {
		src, rest, _ := strings.Cut(line, " ")
		bot := strings.HasPrefix(src, ":"+botName)
		switch {
		case bot && strings.HasPrefix(rest, "JOIN "):
			seen = append(seen, where{in: true})
		case bot && strings.HasPrefix(rest, "QUIT "), strings.HasPrefix(rest, "KICK "+channel+" "+botName):
			seen = append(seen, where{out: true})
		case strings.HasPrefix(src, ":carl!"):
			if _, n, ok := parseLoadLine(rest); ok {
				seen = append(seen, where{line: n})
			}
		}
	}
	return seen
}

// inTheRoom is what dora saw of the bot and of herself.
func (tr *triangle) inTheRoom() (seen []where) {
	for _, st := range tr.dora.Stanzas() {
		from, typ := lab.Attr(st, "from"), lab.Attr(st, "type")
		switch {
		case strings.HasPrefix(st, "<presence") && typ == "" && from == devRoom+"/bridge":
			seen = append(seen, where{in: true})
		case strings.HasPrefix(st, "<presence") && typ == "unavailable" && (from == devRoom+"/bridge" || from == devRoom+"/dora"):
			seen = append(seen, where{out: true})
		case strings.HasPrefix(st, "<message") && from == devRoom+"/dora":
			body, _ := lab.Child(st, "body")
			if _, n, ok := parseLoadLine(body); ok {
				seen = append(seen, where{line: n})
			}
		}
	}
	return seen
}

// rule says what a scenario may do to lines.
type rule struct {
	// noHistory: lines said on IRC while the bot was away are gone; notForUs: so are
	// those of the room, which had thrown it out.
	noHistory, notForUs bool
	// twice is how many lines may come twice on IRC, where nobody can be asked. The bot
	// knows which they are: not more than it counts as sent again.
	twice int
}

// judge waits, in silence, for what is on its way, and prints and asserts what
// became of what was said since the last time.
func (tr *triangle) judge(what string, r rule) {
	tr.t.Helper()
	again := tr.load.hush()
	defer again()
	verdicts := tr.load.settle()
	l, _ := tr.ledger()
	if !lab.Poll(wait, func() bool { return tr.audited(what) == l }) {
		tr.t.Errorf("%s: status and audit differ:\n%s\n%s", what, l, tr.audited(what))
	}
	sentAgain := int(l.Resent - tr.resent)
	tr.resent = l.Resent
	var table strings.Builder
	for _, s := range tr.load.speakers {
		for _, rd := range tr.load.readers {
			v, ok := verdicts[[2]string{s.name, rd.name}]
			if !ok {
				continue
			}
			note := ""
			switch {
			case r.noHistory && s.name == "carl":
				note = fmt.Sprintf(", %d that nobody kept", v.excuse(gone(tr.onChannel(), v.Lost)))
			case r.notForUs && s.name == "dora":
				note = fmt.Sprintf(", %d that were not for the bot", v.excuse(gone(tr.inTheRoom(), v.Lost)))
			}
			fmt.Fprintf(&table, "%-34s %5s → %-5s %s%s\n", what, s.name, rd.name, v, note)
			if rd.name == "dave" && len(v.Twice) <= min(r.twice, sentAgain) {
				v.Twice = nil
			}
			if !v.good() {
				tr.t.Errorf("%s: %s → %s: %s", what, s.name, rd.name, v)
			}
		}
		s.first = s.count() + 1
	}
	for _, rd := range tr.load.readers {
		clear(rd.read)
	}
	tr.t.Logf("\n%s%-34s %s", table.String(), what, l)
	if l.Bounced+l.Missed+l.Skipped+l.Dead+l.Unreadable+l.Refused > 0 {
		tr.t.Errorf("%s: the bot gave lines up: %s", what, l)
	}
}
