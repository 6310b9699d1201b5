package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"drawbridge/bridge"
)

// warnAgain is how long after a warning a restarted bot gives it again: whoever was
// away may have missed it, and who was not need not hear it at every start.
const warnAgain = 24 * time.Hour

// warnedLeg is whose cursors remember the warnings: no leg has an empty name.
const warnedLeg = ""

// warning is the step of warnSpans that a key was last warned of, and when.
type warning struct {
	step int
	at   time.Time
}

// warnExpiry tells the log and the admins of each key that has come to another
// step of warnSpans, once. The admins hear it sealed, when they are there.
func (b *bot) warnExpiry(ctx context.Context, warned map[string]warning) {
	now := time.Now()
	for _, k := range b.expiring(ctx, b.keyReports(), now, warned) {
		text := expiryWarning(k, k.Expires.Sub(now))
		b.log.Warn("key expires", "err", text, "fpr", k.Fingerprint)
		b.core.TellAdmins("Warning: " + text)
	}
}

// expiring returns those of all keys that are to be warned of. warned holds the step
// each key was last at.
func (b *bot) expiring(ctx context.Context, all []keyReport, now time.Time, warned map[string]warning) (out []keyReport) {
	for _, k := range all {
		name := warningName(k)
		w := warning{warnStep(k, now), now}
		if w.step == warned[name].step {
			continue
		}
		warned[name] = w
		if b.store != nil {
			if err := b.store.SetCursor(ctx, warnedLeg, bridge.Cursor{Name: name, Value: w.String()}); err != nil {
				b.log.Debug("a warning will be given again after a restart", "err", err)
			}
		}
		if w.step > 0 {
			out = append(out, k)
		}
	}
	return out
}

// loadWarned returns what the bot warned of lately, in earlier runs too.
func (b *bot) loadWarned(ctx context.Context, now time.Time) map[string]warning {
	warned := map[string]warning{}
	if b.store == nil {
		return warned
	}
	kept, err := b.store.Cursors(ctx, warnedLeg)
	if err != nil {
		b.log.Debug("warnings are given again", "err", err)
	}
	for name, value := range kept {
		if w, ok := parseWarning(value); ok && now.Sub(w.at).Abs() < warnAgain {
			warned[name] = w
		}
	}
	return warned
}

// warningName keeps names and fingerprints out of the store.
func warningName(k keyReport) string {
	sum := sha256.Sum256([]byte(k.Account + "\x00" + k.Person + "\x00" + k.Fingerprint))
	return "warned " + hex.EncodeToString(sum[:16])
}

// String is the value of a cursor; "", which forgets it, at step 0.
func (w warning) String() string {
	if w.step == 0 {
		return ""
	}
	return fmt.Sprintf("%d %d", w.step, w.at.Unix())
}

func parseWarning(s string) (w warning, ok bool) {
	var at int64
	if n, err := fmt.Sscanf(s, "%d %d", &w.step, &at); err != nil || n != 2 {
		return warning{}, false
	}
	w.at = time.Unix(at, 0)
	return w, true
}

// warnStep is how many of warnSpans a key has come within, one more once it has
// expired.
func warnStep(k keyReport, now time.Time) int {
	if k.Expires.IsZero() {
		return 0
	}
	left, n := k.Expires.Sub(now), 0
	for _, span := range warnSpans {
		if left <= span {
			n++
		}
	}
	if left <= 0 {
		n++
	}
	return n
}
