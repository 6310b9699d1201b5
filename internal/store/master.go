package store

import (
	"bytes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"
)

const (
	masterFile = "master.key"
	// MinKey is how many bytes of key material Key.Material must have at least.
	MinKey = 32
	maxKey = 64 << 10
)

// Parameters of argon2id (RFC 9106, as OWASP advises for interactive use).
const (
	argonTime    = 2
	argonMemory  = 19 << 10 // KiB
	argonThreads = 1
	saltSize     = 16
)

// Key says where the master key comes from. The zero value is the file
// master.key in the store's folder, which the first start makes.
type Key struct {
	// Material is key material of at least MinKey bytes, such as a systemd
	// credential.
	Material []byte
	// Passphrase is stretched by argon2id.
	Passphrase string
}

// master holds the keys derived from the master key.
type master struct {
	wrap   cipher.AEAD // of day keys
	secret cipher.AEAD // of the table secret
}

// material returns the secret that the master key is made of. fresh is set
// where the store is being made: only then is a missing key file made.
func (k Key) material(dir string, salt []byte, fresh bool) ([]byte, error) {
	switch {
	case len(k.Material) > 0 && k.Passphrase != "":
		return nil, errors.New("both a key and a passphrase are given")
	case k.Passphrase != "":
		return argon2.IDKey([]byte(k.Passphrase), salt, argonTime, argonMemory, argonThreads, chacha20poly1305.KeySize), nil
	case len(k.Material) > 0:
		m := bytes.TrimSpace(k.Material)
		if len(m) < MinKey {
			return nil, fmt.Errorf("the key has %d bytes, it needs %d", len(m), MinKey)
		}
		return m, nil
	}
	path := filepath.Join(dir, masterFile)
	m, err := readMaster(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	if !fresh {
		return nil, fmt.Errorf("%w: %s is missing", ErrKey, path)
	}
	return makeMaster(path)
}

func readMaster(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if fi, err := f.Stat(); err != nil {
		return nil, err
	} else if fi.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s is open to others (mode %04o): chmod 600 it", path, fi.Mode().Perm())
	}
	m, err := io.ReadAll(io.LimitReader(f, maxKey))
	if err != nil {
		return nil, err
	}
	if m = bytes.TrimSpace(m); len(m) < MinKey {
		return nil, fmt.Errorf("%w: %s is cut short", ErrKey, path)
	}
	return m, nil
}

func makeMaster(path string) ([]byte, error) {
	var raw [chacha20poly1305.KeySize]byte
	_, _ = rand.Read(raw[:]) // never fails (Go 1.24)
	m := []byte(hex.EncodeToString(raw[:]))
	if err := writeFile(path, append(m, '\n')); err != nil {
		return nil, err
	}
	return m, nil
}

// deriveMaster makes the keys of the store called id from key material.
func deriveMaster(material, id []byte) (*master, error) {
	m := &master{}
	for _, k := range []struct {
		aead *cipher.AEAD
		info string
	}{{&m.wrap, "drawbridge store day keys"}, {&m.secret, "drawbridge store secrets"}} {
		raw, err := hkdf.Key(sha256.New, material, id, k.info, chacha20poly1305.KeySize)
		if err != nil {
			return nil, err
		}
		if *k.aead, err = chacha20poly1305.NewX(raw); err != nil {
			return nil, err
		}
		clear(raw)
	}
	return m, nil
}

// writeFile makes the file path with mode 0600, whole and on the disk, or not at
// all. The caller knows that there is none yet, and holds the store's lock.
func writeFile(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes what was created, renamed and removed in dir last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
