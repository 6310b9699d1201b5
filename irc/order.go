package irc

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"drawbridge/bridge"
)

// This file is the guard's part of the window: orders, which go before all else and
// have two lines of the window to themselves; questions, which go before chat and
// leave those two free; and whispers, which take turns with chat.

// What begins the labels of orders, and of commands.
const (
	orderLabel   = "g"
	commandLabel = "q"
)

const (
	maxWhispers = 64
	// slowServer is when a server that takes so long for a line is one that delays us
	// for our talk. Then chat of a guarded network leaves more of the window free: what
	// lies unread at the server lies before the next order.
	slowServer = time.Second
	slowLines  = 2
)

// order is what a guard wants done.
type order struct {
	room  bridge.Room
	lines []string
	next  int
	ended bool
	err   error
	done  chan struct{} // closed with ended
}

func (o *order) end(err error) {
	if !o.ended {
		o.ended, o.err = true, err
		close(o.done)
	}
}

// order sends lines about room, or about none, and returns when they are written.
func (w *window) order(ctx context.Context, room bridge.Room, lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	o := &order{room: room, lines: lines, done: make(chan struct{})}
	w.mu.Lock()
	if w.err != nil || w.held || room != (bridge.Room{}) && w.rooms[room] == nil {
		w.unlock()
		return bridge.ErrNotReady
	}
	w.orders = append(w.orders, o)
	w.pump()
	w.unlock()
	select {
	case <-o.done:
	case <-ctx.Done():
		w.mu.Lock()
		w.dropOrders(ctx.Err(), func(x *order) bool { return x == o })
		o.end(ctx.Err()) // what is written right now is not known to be, either
		w.unlock()
	}
	return o.err
}

// dropOrders ends the orders that are not wholly written and fit.
func (w *window) dropOrders(err error, fits func(*order) bool) {
	w.orders = slices.DeleteFunc(w.orders, func(o *order) bool {
		if fits(o) {
			o.end(err)
			return true
		}
		return false
	})
}

// fillOrders moves orders to out.
func (w *window) fillOrders() {
	for len(w.orders) > 0 {
		o := w.orders[0]
		for o.next < len(o.lines) {
			line := o.lines[o.next]
			f := flying{size: len(line) + 2, order: line}
			tags := ""
			if w.labels {
				f.how, f.label = byLabel, orderLabel+strconv.FormatUint(w.seq+1, 36)
				tags = "@label=" + f.label + " "
				f.size += len(tags)
			}
			if !w.admits(f.size, windowLines, windowBytes) {
				return
			}
			w.out = append(append(append(w.out, tags...), line...), '\r', '\n')
			w.fly(f)
			o.next++
		}
		w.orders = w.orders[1:]
		w.obeyed = append(w.obeyed, o)
	}
}

// reads queues lines that ask something, and has then called, from the reader, when
// the server has answered all.
func (w *window) reads(lines []string, then func()) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil || len(w.questions)+len(lines) > maxCommands {
		return errFull
	}
	for i, line := range lines {
		if len(line) > maxSent {
			return errFull
		}
		q := command{line: line}
		if i == len(lines)-1 {
			q.then = then
		}
		w.questions = append(w.questions, q)
	}
	if len(lines) == 0 && then != nil {
		w.fence(false, then)
	}
	return nil
}

// fillQuestions moves questions to out, and whispers: one where chat waits, which has
// its turn then.
func (w *window) fillQuestions() {
	for len(w.questions) > 0 && w.admits(len(w.questions[0].line)+2, windowLines-guardLines, windowBytes-guardBytes) {
		w.emitCommand(w.questions[0])
		w.questions = w.questions[1:]
	}
	for len(w.whispers) > 0 && !(w.whispered && len(w.ready) > 0) && w.admits(len(w.whispers[0])+2, w.chatLines(), windowBytes-guardBytes) {
		w.emitCommand(command{line: w.whispers[0]})
		w.whispers, w.whispered = w.whispers[1:], true
	}
}

// chatLines is how much of the window chat may take.
func (w *window) chatLines() int {
	if w.guarded && w.lag >= slowServer {
		return slowLines
	}
	return windowLines - guardLines
}

// whisper queues a NOTICE.
func (w *window) whisper(nick, words string) {
	w.mu.Lock()
	defer w.unlock()
	line := "NOTICE " + nick + " :" + firstPiece(words, w.limit(nick))
	if w.err != nil || len(w.whispers) >= maxWhispers || len(line) > maxSent {
		w.unsaid++
		return
	}
	w.whispers = append(w.whispers, line)
	w.pump()
}

// unwhispered is how many whispers were left out.
func (w *window) unwhispered() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.unsaid
}

func (w *window) setGuarded(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.guarded = on
}

// changeOf finds what a refusal of a change is about: the order with its label, where it
// has one, else the oldest order under way that begins with one of these commands and
// names most of what the refusal names. Without an order, asked reports whether it is
// about a command of that kind that only asked, as MODE for a list.
func (w *window) changeOf(label, commands string, names []string, fold func(string) string) (order string, asked bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	most := 0
	for i := range w.flight {
		f := &w.flight[i]
		if label != "" {
			if f.label == label {
				return f.order, false // a command with a label is settled as all with one are
			}
			continue
		}
		line := f.order
		if line == "" {
			line = f.asks
		}
		word, _, _ := strings.Cut(line, " ")
		if line == "" || !slices.Contains(strings.Fields(commands), word) {
			continue
		}
		switch n := namesOf(line, names, fold); {
		case n == 0:
		case f.order == "":
			asked = asked || word != "PRIVMSG"
		case n > most:
			order, most = line, n
		}
	}
	return order, asked
}

// namesOf counts the names that an order speaks of: targets, modes, masks.
func namesOf(order string, names []string, fold func(string) string) int {
	words := strings.FieldsFunc(order, func(r rune) bool { return r == ' ' || r == ',' })
	n := 0
	for _, name := range names {
		if len(name) == 1 {
			if len(words) > 2 && words[0] == "MODE" && strings.Contains(words[2], name) {
				n++
			}
			continue
		}
		if slices.ContainsFunc(words, func(w string) bool { return fold(strings.TrimPrefix(w, ":")) == fold(name) }) {
			n++
		}
	}
	return n
}
