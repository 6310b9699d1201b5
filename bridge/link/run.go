package link

import (
	"context"
	"errors"
	"time"

	"drawbridge/bridge/guard"
	"drawbridge/policy"
)

// Run ends links whose time is over, writes down which are used, and asks services
// whether accounts are the same, until ctx ends.
func (b *Book) Run(ctx context.Context) {
	b.mu.Lock()
	for _, a := range b.unsaid {
		b.note(a)
	}
	b.unsaid = nil
	b.mu.Unlock()
	tick := time.NewTicker(runFirst)
	defer tick.Stop()
	var wait time.Duration // 0: all is written down
	retry := time.NewTimer(saveSlow)
	retry.Stop()
	defer retry.Stop()
	for {
		failed := b.failed
		if wait > 0 {
			failed = nil // it is known
		}
		select {
		case <-ctx.Done():
			b.keepUsed(ctx, 0)
			return
		case <-tick.C:
			tick.Reset(runEvery)
			b.sweep(ctx)
			b.keepUsed(ctx, keepEvery)
			b.checkAccounts(ctx)
			continue
		case <-failed:
		case <-retry.C:
		}
		if wait = b.tryAgain(ctx, wait); wait > 0 {
			retry.Reset(wait)
		}
	}
}

// sweep ends what is over by the clock.
func (b *Book) sweep(ctx context.Context) {
	b.mu.Lock()
	now := b.now()
	b.unsavedLocked(b.asked.Sweep(now)...)
	words := b.words
	b.words = nil
	var over []guard.Link
	for _, e := range b.links {
		if last := e.last.Swap(0); last > 0 {
			e.use(time.Unix(0, last))
		}
		e.notAfter(now)
		was := e.there
		e.there = b.d.Present != nil && b.d.Present(e.Network, e.Account)
		e.again = e.again || e.there && !was // who came back may be another
		switch {
		case !e.Waits.IsZero():
			if !now.Before(e.Waits) {
				b.endLocked(e, "guard", "no admin agreed in time")
			}
		case e.there:
			e.use(now)
		case now.Sub(e.Used) >= Unused && now.Sub(e.Made) >= Unused:
			over = append(over, e.Link)
		}
	}
	b.mu.Unlock()
	_ = b.save(ctx) // tried again, and told
	for _, text := range words {
		if b.d.TellAdmins != nil {
			b.d.TellAdmins(text)
		}
	}
	for i := range over {
		l := &over[i]
		_, _ = b.endTold(l.Network, l.Account, "guard", "it was not used for 30 days", func(x *guard.Link) bool { return x.ID == l.ID })
	}
}

// notAfter takes times back that are of a clock that was set back since.
func (e *entry) notAfter(now time.Time) {
	for _, t := range []*time.Time{&e.Made, &e.Used} {
		if t.After(now) {
			*t = now
		}
	}
	if last := now.Add(WaitsFor); e.Waits.After(last) {
		e.Waits = last
	}
}

// keepUsed writes down when links were used last, of those whose day there is older
// than that.
func (b *Book) keepUsed(ctx context.Context, older time.Duration) {
	b.mu.Lock()
	for _, e := range b.links {
		if e.Used.After(e.kept) && e.Used.Sub(e.kept) >= older {
			e.kept = e.Used
			b.unsavedLocked(e.ID)
		}
	}
	b.mu.Unlock()
	_ = b.save(ctx) // tried again, and told
}

// checkAccounts asks services about a few accounts: whether each is still the one that
// was linked.
func (b *Book) checkAccounts(ctx context.Context) {
	if b.d.Account == nil {
		return
	}
	b.mu.Lock()
	now := b.now()
	var ask []guard.Link
	for _, e := range b.links {
		if len(ask) < checkAtOne && (e.again || now.Sub(e.checked) >= checkEvery) {
			e.again, e.checked = false, now
			ask = append(ask, e.Link)
		}
	}
	b.mu.Unlock()
	for i := range ask {
		b.checkAccount(ctx, &ask[i])
	}
}

// checkAccount ends a link whose account is gone, or another now. Services that are away
// or silent end nothing.
func (b *Book) checkAccount(ctx context.Context, l *guard.Link) {
	asking, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	seen, err := b.d.Account(asking, l.Network, l.Account)
	same := func(x *guard.Link) bool { return x.ID == l.ID }
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		b.log.Debug("an account could not be asked about", "leg", l.Network, "err", err)
		b.mu.Lock()
		if e := b.links[accountOf(l.Network, l.Account)]; e != nil && same(&e.Link) {
			e.again = true
		}
		b.mu.Unlock()
		return
	case seen.Known == policy.No:
		_, err = b.endTold(l.Network, l.Account, "guard", "the account was dropped, or has another name", same)
	case seen.Known == policy.Yes && l.Mark != "" && seen.Mark != "" && seen.Mark != l.Mark:
		_, err = b.endTold(l.Network, l.Account, "guard", "the account was dropped and registered anew: it may be somebody else's", same)
	case seen.Known == policy.Yes && l.Mark == "" && seen.Mark != "": // services were away as it was made
		b.mu.Lock()
		if e := b.links[accountOf(l.Network, l.Account)]; e != nil && same(&e.Link) {
			e.Mark = seen.Mark
			b.unsavedLocked(e.ID)
		}
		b.mu.Unlock()
	}
	if err != nil && !errors.Is(err, ErrNothing) {
		b.log.Debug("link not checked", "leg", l.Network, "err", err)
	}
}
