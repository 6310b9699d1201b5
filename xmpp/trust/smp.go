package trust

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"slices"
	"sync"
	"time"

	"drawbridge/xmpp/e2ee"
)

// The limits of SMP, for each person over all of their keys.
const (
	MaxFailed  = 3
	FailedSpan = 24 * time.Hour
)

// brokenEvery is how often it is told that runs of a person broke off: they cost
// nothing, so there may be any number.
const brokenEvery = time.Hour

// tries are the runs of one person. What is kept counts a run from its beginning as
// failed, until it ends otherwise.
type tries struct {
	e2ee.SMPTries
	open   int       // runs under way
	broken time.Time // when it was last told that one broke off
}

// recent drops the failures that have had their day.
func (t *tries) recent(now time.Time) {
	t.Failed = slices.DeleteFunc(t.Failed, func(at time.Time) bool { return now.Sub(at) >= FailedSpan })
}

// BeginSMP implements e2ee.SMP.
func (b *Book) BeginSMP(p e2ee.Peer, fpr string) ([]byte, func(e2ee.SMPOutcome), error) {
	if p.Person == nil {
		return nil, nil, e2ee.ErrNoSecret
	}
	b.deciding.Lock()
	defer b.deciding.Unlock()
	name := p.Person.Name
	now := b.now()
	secret, err := b.maySMP(name, fpr, now)
	if err != nil {
		return nil, nil, err
	}
	err = b.changeTries(name, func(t *tries) {
		t.Failed = append(t.Failed, now)
		t.open++
	})
	if err != nil { // what is not counted is not begun
		b.undoBegin(name, now)
		return nil, nil, err
	}
	b.log.Info("SMP begun", "leg", p.Account, "to", name, "fpr", fpr)
	var once sync.Once
	return []byte(secret), func(o e2ee.SMPOutcome) {
		once.Do(func() { b.endSMP(p, fpr, secret, now, o) })
	}, nil
}

// maySMP reports whether a run may begin, and returns the secret.
func (b *Book) maySMP(person, fpr string, now time.Time) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	secret := b.secrets[person]
	t := b.tries[person]
	if t == nil {
		t = &tries{}
		b.tries[person] = t
	}
	t.recent(now)
	if rec := b.find(person, e2ee.KeyOTR, fpr); rec != nil && rec.State == e2ee.KeyRevoked {
		return "", e2ee.ErrKeyRevoked
	}
	switch {
	case secret == "":
		return "", e2ee.ErrNoSecret
	case subtle.ConstantTimeCompare(t.Used, usedHash(person, secret)) == 1:
		return "", e2ee.ErrSecretUsed
	case !t.Blocked.IsZero():
		return "", e2ee.ErrSMPBlocked
	case len(t.Failed) < MaxFailed:
		return secret, nil
	}
	return "", e2ee.ErrSMPBusy // all others have closed it
}

// closeSMP closes the tries of a person, read from the keeper, if those that had
// begun when the process ended were the last.
func (b *Book) closeSMP(ctx context.Context, person string) error {
	t := b.tries[person]
	if len(t.Failed) < MaxFailed || !t.Blocked.IsZero() {
		return nil
	}
	t.Blocked = b.now()
	b.push(Notice{What: SMPClosed, Key: e2ee.Key{Person: person, Kind: e2ee.KeyOTR}})
	return b.deps.Keeper.KeepTries(ctx, person, t.SMPTries)
}

// usedHash is what is remembered of a secret that was used up.
func usedHash(person, secret string) []byte {
	sum := sha256.Sum256([]byte("smp\x00" + person + "\x00" + secret))
	return sum[:]
}

// changeTries changes and keeps the tries of a person. b.deciding is held.
func (b *Book) changeTries(person string, change func(*tries)) error {
	b.mu.Lock()
	t := b.tries[person]
	if t == nil {
		t = &tries{}
		b.tries[person] = t
	}
	change(t)
	kept := e2ee.SMPTries{Failed: slices.Clone(t.Failed), Blocked: t.Blocked, Used: t.Used}
	b.mu.Unlock()
	if b.deps.Keeper == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), keepTimeout)
	defer cancel()
	return b.deps.Keeper.KeepTries(ctx, person, kept)
}

func (b *Book) undoBegin(person string, began time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.tries[person]
	t.open--
	t.refund(began)
}

// refund takes back what the run that began then was charged.
func (t *tries) refund(began time.Time) {
	if i := slices.IndexFunc(t.Failed, began.Equal); i >= 0 {
		t.Failed = slices.Delete(t.Failed, i, i+1)
	}
}

// endSMP notes how a run ended.
func (b *Book) endSMP(p e2ee.Peer, fpr, secret string, began time.Time, o e2ee.SMPOutcome) {
	name, now := p.Person.Name, b.now()
	if o == e2ee.SMPMatched {
		// The key first: who knows the secret must not lose it for nothing.
		if err := b.verifiedBySMP(p, fpr); err != nil {
			b.log.Error("SMP matched, but the key is not accepted", "leg", p.Account, "to", name, "fpr", fpr, "err", err)
			o = e2ee.SMPFailed
		}
	}
	b.deciding.Lock()
	defer b.deciding.Unlock()
	blocked, quiet := false, false
	err := b.changeTries(name, func(t *tries) {
		t.open--
		t.recent(now)
		switch o {
		case e2ee.SMPMatched:
			t.refund(began)
			t.Used = usedHash(name, secret)
		case e2ee.SMPAbandoned:
			t.refund(began)
			if quiet = !t.broken.IsZero() && now.Sub(t.broken) < brokenEvery; !quiet {
				t.broken = now
			}
		default:
			if blocked = len(t.Failed)-t.open >= MaxFailed && t.Blocked.IsZero(); blocked {
				t.Blocked = now
			}
		}
	})
	if err != nil {
		b.log.Error("SMP not kept", "to", name, "err", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	n := Notice{Account: p.Account, Key: e2ee.Key{Person: name, Kind: e2ee.KeyOTR, Fingerprint: fpr}, Who: p.Bare}
	switch o {
	case e2ee.SMPMatched:
		n.What = SMPSame
	case e2ee.SMPAbandoned:
		n.What = SMPBroken
	default:
		n.What = SMPDifferent
	}
	b.log.Info("SMP ended", "leg", p.Account, "to", name, "fpr", fpr, "rule", n.What.String())
	if !quiet {
		b.push(n)
	}
	if blocked {
		n.What = SMPClosed
		b.push(n)
	}
}

// verifiedBySMP accepts the key of a session whose peer knew the secret.
func (b *Book) verifiedBySMP(p e2ee.Peer, fpr string) error {
	_, err := b.Accept(context.Background(), Decision{Person: p.Person.Name, Kind: e2ee.KeyOTR, Fingerprint: fpr, How: e2ee.HowSMP, Who: fullJID(p)})
	if errors.Is(err, ErrSame) {
		return nil
	}
	return err
}

// ClearSMP lets a person be asked again, whose tries were used up.
func (b *Book) ClearSMP(ctx context.Context, person, who string) error {
	if b.Person(person) == nil {
		return ErrNoPerson
	}
	b.deciding.Lock()
	defer b.deciding.Unlock()
	if err := b.changeTries(person, func(t *tries) { t.Failed, t.Blocked = nil, time.Time{} }); err != nil {
		return err
	}
	b.log.Info("SMP cleared", "from", who, "to", person)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.push(Notice{What: SMPCleared, Key: e2ee.Key{Person: person, Kind: e2ee.KeyOTR}, Who: who})
	return ctx.Err()
}

// SMPBlocked returns the persons for whom no more tries are allowed.
func (b *Book) SMPBlocked() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for person, t := range b.tries {
		if !t.Blocked.IsZero() {
			out = append(out, person)
		}
	}
	slices.Sort(out)
	return out
}
