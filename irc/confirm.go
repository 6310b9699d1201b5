package irc

import (
	"fmt"
	"strings"

	"drawbridge/bridge"
)

// land takes line i out of the flight with its outcome.
func (w *window) land(i int, o bridge.Outcome, reason error, netID string) {
	f := w.flight[i]
	w.flight = append(w.flight[:i], w.flight[i+1:]...)
	w.lines--
	w.bytes -= f.size
	w.lag = w.now().Sub(f.at)
	j := f.job
	if j == nil {
		if f.then != nil {
			w.due = append(w.due, f.then)
		}
		return
	}
	j.flying--
	if j.netID == "" {
		j.netID = netID
	}
	if o == bridge.Failed && w.rooms[j.room.room] != j.room {
		o, reason = bridge.Doubt, nil // we are out of the channel: it can be tried again
	}
	if o != bridge.Delivered {
		j.worsen(o, reason)
		if !j.ended {
			w.abandon(j, nil) // the rest would make no sense
		}
	}
	if j.ended {
		w.settle(j)
	}
}

// answered takes what is to be called now that labelled commands were answered.
func (w *window) answered() []func() {
	w.mu.Lock()
	defer w.mu.Unlock()
	due := w.due
	w.due = nil
	return due
}

// labelled handles a response with our label: an echo or an ACK (err nil), or a
// refusal. It reports whether the label was one of ours.
func (w *window) labelled(label, netID string, err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.flight {
		if w.flight[i].label == label && label != "" {
			o := bridge.Delivered
			if err != nil {
				o = bridge.Failed
			}
			w.land(i, o, err, netID)
			return true
		}
	}
	return false
}

// echoed handles our own line coming back without a label. The server answers
// in order, so lines to the same room before it were swallowed.
func (w *window) echoed(room bridge.Room, body, netID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := -1
	for i := range w.flight {
		f := &w.flight[i]
		if f.job == nil || f.how == byFence || f.job.room.room != room {
			continue
		}
		if f.body == body {
			at = i
			break
		}
		if at < 0 && f.how == byEcho {
			at = i // altered by the server, unless the same text follows
		}
	}
	if at < 0 {
		return
	}
	seq := w.flight[at].seq
	for i := 0; w.flight[i].seq < seq; {
		if f := &w.flight[i]; f.job != nil && f.how == byEcho && f.job.room.room == room {
			w.land(i, bridge.Failed, errSwallowed, "")
			continue
		}
		i++
	}
	for i := range w.flight {
		if w.flight[i].seq == seq {
			w.land(i, bridge.Delivered, nil, netID)
			return
		}
	}
}

// refused handles an error without a label. With a room it names the line
// exactly where echoes are on, and else counts against the room's lines before
// the next fence; without one all lines before that fence are in doubt.
func (w *window) refused(room bridge.Room, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if room == (bridge.Room{}) {
		w.anyErrs++
		return
	}
	for i := range w.flight {
		f := &w.flight[i]
		if f.job == nil || f.job.room.room != room {
			continue
		}
		if f.how == byFence {
			f.job.room.errs++
			f.job.room.why = err
			return
		}
		w.land(i, bridge.Failed, err, "")
		return
	}
}

// pong handles the PONG of a fence: what went before it has been handled by the
// server. It reports whether token was one, and returns what to do next.
func (w *window) pong(token string) (then []func(), ok bool) {
	if !strings.HasPrefix(token, fencePrefix) {
		return nil, false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for n < len(w.fences) && w.fences[n].token != token {
		n++
	}
	if n == len(w.fences) {
		return nil, true
	}
	for _, f := range w.fences[:n+1] { // an answer answers what was asked before, too
		w.passFence(f)
		if f.then != nil {
			then = append(then, f.then)
		}
	}
	w.fences = append(w.fences[:0], w.fences[n+1:]...)
	return then, true
}

func (w *window) passFence(f fence) {
	w.bytes -= f.size
	if f.judge {
		w.judging = false
	}
	// Count first: how many of each room's lines this fence speaks for.
	group := map[*roomQueue]int{}
	for i := range w.flight {
		if e := &w.flight[i]; e.seq <= f.seq && e.how == byFence && e.job != nil {
			group[e.job.room]++
		}
	}
	for i := 0; i < len(w.flight) && w.flight[i].seq <= f.seq; {
		e := &w.flight[i]
		switch {
		case e.how != byFence && !f.judge:
			i++
		case e.how != byFence:
			w.land(i, bridge.Failed, errSwallowed, "")
		case e.job == nil:
			w.land(i, bridge.Delivered, nil, "")
		case e.job.room.errs >= group[e.job.room]:
			w.land(i, bridge.Failed, e.job.room.why, "")
		case e.job.room.errs > 0 || w.anyErrs > 0:
			w.land(i, bridge.Doubt, nil, "")
		default:
			w.land(i, bridge.Delivered, nil, "")
		}
	}
	for q := range group {
		q.errs, q.why = 0, nil
	}
	w.anyErrs = 0
}

// tick asks, by a PING, about lines whose echo is overdue.
func (w *window) tick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.judging || w.err != nil {
		return
	}
	for i := range w.flight {
		if f := &w.flight[i]; f.how != byFence && w.now().Sub(f.at) > judgeAfter {
			w.judging = true
			w.putFence(true)
			return
		}
	}
}

// waiting reports whether anything is unconfirmed.
func (w *window) waiting() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.flight) > 0
}

// refusals says what the numerics mean that refuse something said. The server's own
// words are not repeated: filters quote what they caught, and this goes to logs.
var refusals = map[string]string{
	"263":                  "too fast, or not now",
	"401":                  "no such channel",
	"403":                  "no such channel",
	"404":                  "the channel's modes or a ban do not let us speak; give the bot voice",
	"408":                  "formatting is not allowed in the channel",
	"411":                  "no channel is named",
	"412":                  "nothing to say",
	"415":                  "a word or form is not allowed",
	"417":                  "the line is too long",
	"421":                  "the command is unknown",
	"437":                  "temporarily unavailable (netsplit)",
	"439":                  "too fast",
	"442":                  "we are not in the channel",
	"477":                  "the channel wants a registered nick (+M or +R): configure sasl",
	"489":                  "only for TLS connections (+z)",
	"INVALID_UTF8":         "the text is not UTF-8",
	"MESSAGE_RATE_LIMITED": "too fast",
}

// refusal makes the error of a numeric, or of the code of a FAIL.
func refusal(code string) error {
	why, known := refusals[code]
	switch {
	case known:
		return fmt.Errorf("%w: %s (%s)", errRefused, why, code)
	case isCode(code):
		return fmt.Errorf("%w (%s)", errRefused, code)
	}
	return errRefused
}

// isCode reports whether s can be a numeric, or a code of standard replies.
func isCode(s string) bool {
	return s != "" && len(s) <= 32 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_'
	})
}
