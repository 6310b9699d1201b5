package bridge

import (
	"context"
	"strings"
	"sync"
)

// answerPrivate answers people until ctx ends, and returns once nobody is answered any
// more. Each nick has a lane of its own: who waits for a server that does not answer
// keeps nobody else waiting.
func (c *Core) answerPrivate(ctx context.Context) {
	l := lanes{c: c, waiting: map[string][]Private{}, free: make(chan string)}
	defer l.working.Wait()
	rate := hostRate{}
	for {
		heard := c.privates
		if len(l.waiting) >= maxLanes {
			heard = nil
		}
		select {
		case <-ctx.Done():
			return
		case lane := <-l.free:
			l.next(ctx, lane)
		case p := <-heard:
			ok, first := rate.allow(p.Leg+" "+p.From.User+"@"+p.From.Host, c.now())
			if first {
				c.TellNick(p.Leg, p.From.Nick, "Too many lines at once: wait half a minute, then go on.")
			}
			if !ok {
				c.log.Debug("private line dropped: too many", "leg", p.Leg, "from", p.From.Nick)
				continue
			}
			l.take(ctx, p)
		}
	}
}

// lanes are the lines that people said to the bot alone. All but working is of one
// goroutine.
type lanes struct {
	c       *Core
	waiting map[string][]Private // behind the line that is being answered, by lane
	free    chan string          // lanes whose line was answered
	working sync.WaitGroup
}

// take answers a line, or has it wait behind the one before.
func (l *lanes) take(ctx context.Context, p Private) {
	lane := p.Leg + " " + strings.ToLower(p.From.Nick)
	behind, busy := l.waiting[lane]
	switch {
	case !busy:
		l.waiting[lane] = nil
		l.answer(ctx, lane, p)
	case len(behind) < laneLength:
		l.waiting[lane] = append(behind, p)
	default:
		l.c.log.Debug("private line dropped: too many wait", "leg", p.Leg, "from", p.From.Nick)
	}
}

// next answers the line that waits next in a lane, or ends it.
func (l *lanes) next(ctx context.Context, lane string) {
	behind := l.waiting[lane]
	if len(behind) == 0 {
		delete(l.waiting, lane)
		return
	}
	l.waiting[lane] = behind[1:]
	l.answer(ctx, lane, behind[0])
}

func (l *lanes) answer(ctx context.Context, lane string, p Private) {
	l.working.Go(func() {
		l.c.aside(ctx, &p)
		select {
		case l.free <- lane:
		case <-ctx.Done():
		}
	})
}
