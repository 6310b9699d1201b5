//go:build e2e

package e2e

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

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
// half a minute, and the bot holds nothing more.
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
	begun := time.Now()
	for n, since := -1, begun; ; time.Sleep(100 * time.Millisecond) {
		if time.Since(since) > wait/2 {
			if now, ok := l.h.ledger(); ok && now.Waiting == 0 || time.Since(begun) > overload {
				break
			}
			since = time.Now()
		}
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
