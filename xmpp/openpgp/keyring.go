package openpgp

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
)

// Keyring holds the public keys of people, read from files and folders. It is
// safe for concurrent use: Load swaps in a new immutable snapshot, and what is
// under way keeps the one it began with.
type Keyring struct {
	mu      sync.Mutex // guards all below, and serialises Load and Learn
	paths   []string
	seen    []stamp
	learned string            // folder of what Learn has brought, "" for none
	memory  map[string][]byte // what it has brought where there is no folder, by fingerprint

	snap atomic.Pointer[snapshot]
}

type snapshot struct {
	certs map[string]*cert // by fingerprint of the primary key
	order []string         // fingerprints as they were read
	// damaged are the files of what was learnt that cannot be read. Their keys are left
	// out: one may have been a revocation.
	damaged []error

	authMu      sync.Mutex                 // guards byAuthority
	byAuthority map[string][]certification // by its fingerprint
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
// the keys held before stay, whole. What was learnt before and is damaged now costs
// the key that it was about, and no other: see Damaged.
func (k *Keyring) Load(paths []string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	list, err := files(paths)
	if err != nil {
		return err
	}
	var learned []stamp
	if k.learned != "" {
		if learned, err = files([]string{k.learned}); err != nil {
			return err
		}
	}
	snap, err := read(list, learned, k.memory)
	// Remembered even if bad: it is told once, not at each look.
	k.seen = append(list, learned...)
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
	list, err := files(k.all(k.paths))
	return err != nil || !slices.EqualFunc(list, k.seen, func(a, b stamp) bool {
		return a.path == b.path && a.size == b.size && a.mod.Equal(b.mod)
	})
}

// read reads the files of list and of the folder of what was learnt, and what was
// learnt without one.
func read(list, folder []stamp, learned map[string][]byte) (*snapshot, error) {
	s := &snapshot{certs: make(map[string]*cert)}
	var errs []error
	add := func(keys pgp.EntityList) {
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
	for _, f := range list {
		keys, err := readKeys(f.path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		add(keys)
	}
	for _, f := range folder {
		keys, err := readKeys(f.path)
		if err != nil {
			s.damaged = append(s.damaged, fmt.Errorf("openpgp: %s, what was fetched of a key, is damaged: the key is not used; remove the file, and it is fetched again: %w", f.path, err))
			s.drop(fingerprintOfFile(f.path))
			continue
		}
		add(keys)
	}
	for _, data := range learned {
		if keys, err := parseKeys(data); err == nil { // we wrote it
			add(keys)
		}
	}
	return s, errors.Join(errs...)
}

// readKeys reads the keys of a file.
func readKeys(path string) (pgp.EntityList, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	keys, err := parseKeys(data)
	if err != nil {
		return nil, &KeyError{File: path, Err: err}
	}
	return keys, nil
}

// fingerprintOfFile is what Import named a file after.
func fingerprintOfFile(path string) string {
	name := filepath.Base(path)
	return strings.TrimSuffix(name, filepath.Ext(name))
}

// drop takes a key out of a snapshot that is being made.
func (s *snapshot) drop(fpr string) {
	delete(s.certs, fpr)
	s.order = slices.DeleteFunc(s.order, func(f string) bool { return f == fpr })
}

// Damaged returns an error for each file of what was learnt that cannot be read.
// Reading it anew is tried with every Load.
func (k *Keyring) Damaged() []error { return k.snap.Load().damaged }

// recipient returns what to seal to with the key of this fingerprint, and whether
// it needed allow_weak_key.
func (s *snapshot) recipient(fpr string, allowWeak bool, now time.Time) (r *recipient, weak bool, err error) {
	c := s.certs[fpr]
	if c == nil {
		return nil, false, e2ee.ErrNoKey
	}
	return c.recipient(now, allowWeak)
}

// holder returns the key that has this key id, or a subkey that has, or nil.
func (s *snapshot) holder(id uint64) *cert {
	for _, fpr := range s.order {
		if c := s.certs[fpr]; c.strict.holds(id) {
			return c
		}
	}
	return nil
}

// Check returns a *KeyError for each pinned key of people that cannot be sealed
// to at now, whether or not another pinned key of the same person can.
func (k *Keyring) Check(people []*policy.Person, now time.Time) []error {
	s := k.snap.Load()
	var errs []error
	for _, p := range people {
		for _, fpr := range p.OpenPGP {
			if _, _, why := s.recipient(fpr, p.AllowWeakKey, now); why != nil {
				errs = append(errs, &KeyError{Person: p.Name, Fingerprint: fpr, Err: why})
			}
		}
	}
	return errs
}

// Len returns how many keys there are.
func (k *Keyring) Len() int { return len(k.snap.Load().certs) }
