package irc

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ergochat/irc-go/ircmsg"
)

// Bounds of asking for history.
const (
	maxPage        = 1000 // lines asked for at once; the server's own limit may be lower
	maxPages       = 100  // answers taken in for one catch-up
	maxLookPages   = 10   // answers looked through for our own lines
	historyTimeout = 30 * time.Second
)

// request is one CHATHISTORY under way (IRCv3 draft/chathistory).
type request struct {
	kind  requestKind
	look  bool // only our own lines matter: for Ask
	label string
	sent  time.Time
	// Of the answer.
	lines       int
	first, last position
	same        int       // lines of the time of last, among them those of the page before
	end         bool      // the server says that there is no more
	own         []ownLine // of a look

	// By time, a page begins with the last lines of the one before.
	skipAt time.Time
	skip   int
}

type requestKind uint8

const (
	afterID   requestKind = iota // what follows the last line taken in, by its msgid
	aroundID                     // is that msgid known at all?
	afterTime                    // what follows its time, and a little before
	following                    // the next page
	latest                       // the last lines there are
	before                       // those before them
)

// note counts a line of the answer.
func (r *request) note(line position) {
	line.id = strings.Clone(line.id)
	if r.lines++; r.lines == 1 {
		r.first = line
		if line.at.Equal(r.skipAt) {
			r.last = line
		}
	}
	if !line.at.Equal(r.last.at) {
		r.same = 0
	}
	r.same++
	r.last = line
}

// repeats reports whether a line was in the page before, too.
func (r *request) repeats(line position) bool {
	if r.skip == 0 || !line.at.Equal(r.skipAt) {
		return false
	}
	r.skip--
	return true
}

// canAsk reports whether the server answers CHATHISTORY.
func (s *session) canAsk() bool {
	on := s.reg.enabled
	return (on["draft/chathistory"] || on["chathistory"]) && on["batch"] && on["server-time"]
}

// askSince asks for what was said in c since the last line taken in.
func (s *session) askSince(c *channel, k *catchup) {
	if ref, ok := k.from.ref(); ok && s.isupport.refsByID() {
		s.ask(c, k, &request{kind: afterID}, "AFTER", ref)
		return
	}
	s.askSinceTime(c, k)
}

// askSinceTime asks by time, for servers without msgids and for a msgid that the
// server does not know any more.
func (s *session) askSinceTime(c *channel, k *catchup) {
	at := k.since.Add(-k.skew)
	if k.from.known() {
		at = k.from.at
	}
	s.ask(c, k, &request{kind: afterTime}, "AFTER", timeRef(at.Add(-overlap)))
}

// ask sends a request; one that cannot be sent ends the catch-up.
func (s *session) ask(c *channel, k *catchup, r *request, sub, ref string) {
	s.requests++ // never 0, and so no label is
	r.sent = s.now
	limit := maxPage
	if s.isupport.chatHistory > 0 {
		limit = min(limit, s.isupport.chatHistory)
	}
	if r.kind == aroundID {
		limit = 1
	}
	line := "CHATHISTORY " + sub + " " + c.name + " " + ref + " " + strconv.Itoa(limit)
	if s.reg.enabled["labeled-response"] {
		r.label = "h" + strconv.FormatUint(s.requests, 36)
		line = "@label=" + r.label + " " + line
	}
	k.req = r
	s.timer(s.now.Add(historyTimeout))
	if s.win.command(line, nil) != nil {
		s.noAnswer(c, k)
	}
}

// answers reports whether b is the answer to what was asked.
func (k *catchup) answers(b *batch) bool {
	return k.req != nil && (k.req.label == "" || k.req.label == b.label)
}

// onHistoryEnd handles the end of a batch of history.
func (s *session) onHistoryEnd(b *batch) {
	c := s.channel(b.target)
	if c == nil || c.replay == nil || !c.replay.answers(b) {
		return
	}
	c.replay.req.end = b.end
	s.answered(c, c.replay)
}

// emptyAnswer handles the end of an answer, by its label, that held no history.
func (s *session) emptyAnswer(label string) {
	for _, c := range s.channels {
		if k := c.replay; label != "" && k != nil && k.req != nil && k.req.label == label {
			s.answered(c, k)
			return
		}
	}
}

// answered goes on from an answer.
func (s *session) answered(c *channel, k *catchup) {
	r := k.req
	if k.pages++; r.look {
		s.looked(c, k, r)
		return
	}
	switch r.kind {
	case afterID:
		if r.lines == 0 {
			// All is told, or the server does not know the msgid any more: it says the
			// same to both.
			ref, _ := k.from.ref()
			s.ask(c, k, &request{kind: aroundID}, "AROUND", ref)
			return
		}
	case aroundID:
		if !k.found {
			s.askSinceTime(c, k)
			return
		}
		s.settle(c, k, time.Time{})
		return
	case afterTime:
		if k.from.known() && !k.found && (r.lines == 0 || r.first.at.After(k.from.at)) {
			// Not even the last line that we know: the server does not reach back to it.
			k.covered = k.joined
			if r.lines > 0 {
				k.covered = k.oldest.Add(k.skew)
			}
		}
	}
	s.nextPage(c, k, r)
}

// nextPage asks for what follows an answer, if anything can.
func (s *session) nextPage(c *channel, k *catchup, r *request) {
	switch {
	case r.lines == 0 || r.end:
		s.settle(c, k, k.covered)
	case k.pages >= maxPages:
		s.settle(c, k, k.joined)
	default:
		next := &request{kind: following}
		ref, ok := r.last.ref()
		if !ok || !s.isupport.refsByID() {
			next.skipAt, next.skip, next.same = r.last.at, r.same, r.same
			ref = timeRef(r.last.at.Add(-time.Millisecond))
		}
		if ref == k.lastRef { // it would be the same page again
			s.settle(c, k, k.covered)
			return
		}
		k.lastRef = ref
		s.ask(c, k, next, "AFTER", ref)
	}
}

// noAnswer ends a catch-up, or a look, that the server does not answer.
func (s *session) noAnswer(c *channel, k *catchup) {
	r := k.req
	switch {
	case r.look:
		k.req, k.looked, k.own, k.kept, k.lastRef = nil, true, nil, never, ""
		s.answerAsks()
	case r.kind == afterID || r.kind == aroundID:
		s.askSinceTime(c, k)
	case r.kind == following:
		s.settle(c, k, k.last.at.Add(k.skew))
	default:
		s.settle(c, k, k.joined)
	}
}

// historyFailed handles FAIL for a CHATHISTORY of ours. It reports whether it was
// one.
func (s *session) historyFailed(m *ircmsg.Message, label string) bool {
	for _, c := range s.channels {
		k := c.replay
		if k == nil || k.req == nil {
			continue
		}
		if label != "" && label == k.req.label || label == "" && param(m, 0) == "CHATHISTORY" &&
			slices.ContainsFunc(m.Params, func(p string) bool { return s.fold(p) == s.fold(c.name) }) {
			s.noAnswer(c, k)
			return true
		}
	}
	return false
}

// historyDue gives up requests that were not answered.
func (s *session) historyDue() {
	for _, c := range s.channels {
		if k := c.replay; k != nil && k.req != nil && !s.now.Before(k.req.sent.Add(historyTimeout)) {
			s.noAnswer(c, k)
		}
	}
}
