package openpgp

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
)

// Keyring holds the public keys of people, read from files and folders. It is
// safe for concurrent use: Load swaps in a new immutable snapshot, and what is
// under way keeps the one it began with.
type Keyring struct {
	mu    sync.Mutex // guards paths and seen, and serialises Load
	paths []string
	seen  []stamp

	snap atomic.Pointer[snapshot]
}

type snapshot struct {
	certs map[string]*cert // by fingerprint of the primary key
	order []string         // fingerprints as they were read
}

// NewKeyring reads the keys of paths: files (armored, binary, `gpg --export`
// output, pubring.kbx) and folders of such files. The error joins one *KeyError
// for each path or file that is bad.
func NewKeyring(paths []string) (*Keyring, error) {
	k := &Keyring{}
	k.snap.Store(&snapshot{certs: map[string]*cert{}})
	return k, k.Load(paths)
}

// Load reads the keys of paths. If any of them is bad the error says which, and
// the keys held before stay, whole.
func (k *Keyring) Load(paths []string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	list, err := files(paths)
	if err != nil {
		return err
	}
	snap, err := read(list)
	// Remembered even if bad: it is told once, not at each look.
	k.seen = list
	if err != nil {
		return err
	}
	k.paths = slices.Clone(paths)
	k.snap.Store(snap)
	return nil
}

// Reload reads the same paths again.
func (k *Keyring) Reload() error {
	k.mu.Lock()
	paths := k.paths
	k.mu.Unlock()
	return k.Load(paths)
}

// Changed reports whether any file is new, gone, or of another size or time than
// when it was last read. It is cheap enough to be asked every few seconds.
func (k *Keyring) Changed() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	list, err := files(k.paths)
	return err != nil || !slices.EqualFunc(list, k.seen, func(a, b stamp) bool {
		return a.path == b.path && a.size == b.size && a.mod.Equal(b.mod)
	})
}

func read(list []stamp) (*snapshot, error) {
	s := &snapshot{certs: make(map[string]*cert)}
	var errs []error
	for _, f := range list {
		data, err := readFile(f.path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		keys, err := parseKeys(data)
		if err != nil {
			errs = append(errs, &KeyError{File: f.path, Err: err})
			continue
		}
		for _, e := range keys {
			fpr := fingerprint(e.PrimaryKey)
			if have := s.certs[fpr]; have != nil {
				merge(have.strict.entity, e)
				continue
			}
			s.certs[fpr] = newCert(e)
			s.order = append(s.order, fpr)
		}
	}
	return s, errors.Join(errs...)
}

// recipient returns what to seal to for a person: of the pinned keys, in their
// order, the first that can be used now. The error is a *KeyError about the first.
func (s *snapshot) recipient(p *policy.Person, now time.Time) (r *recipient, c *cert, weak bool, err error) {
	if p == nil || len(p.OpenPGP) == 0 {
		return nil, nil, false, e2ee.ErrNoKey
	}
	var first error
	for _, fpr := range p.OpenPGP {
		why := e2ee.ErrNoKey
		if c := s.certs[fpr]; c != nil {
			if r, weak, why = c.recipient(now, p.AllowWeakKey); why == nil {
				return r, c, weak, nil
			}
		}
		if first == nil {
			first = &KeyError{Person: p.Name, Fingerprint: fpr, Err: why}
		}
	}
	return nil, nil, false, first
}

// signer returns the view of the person's pinned key that has this key id.
func (s *snapshot) signer(p *policy.Person, id uint64) (*view, string) {
	for _, fpr := range p.OpenPGP {
		if c := s.certs[fpr]; c != nil {
			if v := c.view(p.AllowWeakKey); v.holds(id) {
				return v, fpr
			}
		}
	}
	return nil, ""
}

// Check returns a *KeyError for each pinned key of people that cannot be sealed
// to at now, whether or not another pinned key of the same person can.
func (k *Keyring) Check(people []*policy.Person, now time.Time) []error {
	s := k.snap.Load()
	var errs []error
	for _, p := range people {
		for _, fpr := range p.OpenPGP {
			why := e2ee.ErrNoKey
			if c := s.certs[fpr]; c != nil {
				_, _, why = c.recipient(now, p.AllowWeakKey)
			}
			if why != nil {
				errs = append(errs, &KeyError{Person: p.Name, Fingerprint: fpr, Err: why})
			}
		}
	}
	return errs
}

// Len returns how many keys there are.
func (k *Keyring) Len() int { return len(k.snap.Load().certs) }
