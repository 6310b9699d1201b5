package openpgp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// maxFile bounds a key file: a keybox of a few thousand keys.
const maxFile = 64 << 20

// keySuffixes are the names read from a folder. Anything else in it is left
// alone, as are names that begin with a dot.
var keySuffixes = []string{".asc", ".gpg", ".pgp", ".kbx", ".pub", ".key"}

// stamp tells whether a file is still the one that was read.
type stamp struct {
	path string
	size int64
	mod  time.Time
	dir  bool
}

// files lists the files that paths stand for, in order, with their stamps. A path
// that is a folder stands for the key files in it, not below it.
func files(paths []string) ([]stamp, error) {
	var out []stamp
	var errs []error
	for _, p := range paths {
		st, err := os.Stat(p)
		if err != nil {
			errs = append(errs, unreadable(p, err))
			continue
		}
		if !st.IsDir() {
			out = append(out, stamp{p, st.Size(), st.ModTime(), false})
			continue
		}
		entries, err := os.ReadDir(p)
		if err != nil {
			errs = append(errs, unreadable(p, err))
			continue
		}
		for _, e := range entries {
			name := e.Name()
			if strings.HasPrefix(name, ".") || !slices.Contains(keySuffixes, strings.ToLower(filepath.Ext(name))) {
				continue
			}
			full := filepath.Join(p, name)
			st, err := os.Stat(full)
			if err != nil {
				errs = append(errs, unreadable(full, err))
				continue
			}
			if st.Mode().IsRegular() {
				out = append(out, stamp{full, st.Size(), st.ModTime(), false})
			}
		}
	}
	return out, errors.Join(errs...)
}

func unreadable(path string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err // the path is said already
	}
	return &KeyError{File: path, Err: fmt.Errorf("%w: %w", ErrUnreadable, err)}
}

// readFile reads a key file.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, unreadable(path, err)
	}
	if len(data) > maxFile {
		return nil, &KeyError{File: path, Err: fmt.Errorf("%w: larger than %d MiB", ErrUnreadable, maxFile>>20)}
	}
	return data, nil
}

// parseKeys returns the keys in data: armor (several blocks, with anything
// between them), binary, or a keybox. Keys the library does not know are left
// out; it is an error if none remains.
func parseKeys(data []byte) (keys pgp.EntityList, err error) {
	defer func() {
		if r := recover(); r != nil {
			keys, err = nil, fmt.Errorf("%w: the OpenPGP library panicked on it", ErrNotKey)
		}
	}()
	switch {
	case isKBX(data):
		blocks, err := readKBX(data)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotKey, err)
		}
		for _, b := range blocks {
			if l, err := pgp.ReadKeyRing(bytes.NewReader(b)); err == nil {
				keys = append(keys, l...)
			}
		}
	case bytes.Contains(data, []byte("-----BEGIN PGP ")):
		r := bytes.NewReader(data)
		for {
			block, err := armor.Decode(r)
			if err != nil {
				break // io.EOF, or garbage after the last block
			}
			if block.Type != pgp.PublicKeyType && block.Type != pgp.PrivateKeyType {
				continue
			}
			l, err := pgp.ReadKeyRing(block.Body)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrNotKey, err)
			}
			keys = append(keys, l...)
			_, _ = io.Copy(io.Discard, block.Body)
		}
	default:
		if keys, err = pgp.ReadKeyRing(bytes.NewReader(data)); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotKey, err)
		}
	}
	if len(keys) == 0 {
		return nil, ErrNotKey
	}
	return keys, nil
}

// merge adds to a what b, another copy of the same key, has beyond it: signatures,
// user ids and subkeys. So a renewed key counts whichever file is read first, and
// a revocation in any copy counts.
func merge(a, b *pgp.Entity) {
	add(&a.Revocations, b.Revocations)
	add(&a.DirectSignatures, b.DirectSignatures)
	for name, id := range b.Identities {
		if have := a.Identities[name]; have != nil {
			add(&have.SelfCertifications, id.SelfCertifications)
			add(&have.OtherCertifications, id.OtherCertifications)
			add(&have.Revocations, id.Revocations)
			continue
		}
		id.Primary = a
		a.Identities[name] = id
	}
next:
	for _, s := range b.Subkeys {
		for i := range a.Subkeys {
			if have := &a.Subkeys[i]; bytes.Equal(have.PublicKey.Fingerprint, s.PublicKey.Fingerprint) {
				add(&have.Bindings, s.Bindings)
				add(&have.Revocations, s.Revocations)
				continue next
			}
		}
		s.Primary = a
		a.Subkeys = append(a.Subkeys, s)
	}
}

// add appends those of more that have does not hold yet.
func add(have *[]*packet.VerifiableSignature, more []*packet.VerifiableSignature) {
	if len(more) == 0 {
		return
	}
	known := make(map[string]bool, len(*have))
	for _, s := range *have {
		known[sigBytes(s)] = true
	}
	for _, s := range more {
		if b := sigBytes(s); b == "" || !known[b] {
			*have = append(*have, s)
		}
	}
}

// sigBytes returns the packet of a signature, "" if it does not serialise.
func sigBytes(s *packet.VerifiableSignature) string {
	var b bytes.Buffer
	if s.Packet.Serialize(&b) != nil {
		return ""
	}
	return b.String()
}
