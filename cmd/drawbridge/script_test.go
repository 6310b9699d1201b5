package main

import (
	"bytes"
	"crypto"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	pgp "github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/ProtonMail/go-crypto/openpgp/s2k"
	"github.com/rogpeppe/go-internal/testscript"

	"drawbridge/xmpp/openpgp"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"drawbridge": main})
}

// TestScripts runs the command line as people do: testdata/*.txt, each in a
// folder of its own. Beside testscript's commands there are
//
//	house             make a working configuration; sets $ALICE, $BOB, $BOT (fingerprints)
//	genkey FILE JID [expired|soon]   make a key; FILE and FILE.pub.asc; sets $FPR
//	sub FILE OLD NEW  replace text in a file; OLD must be there
//	signal NAME       send a signal to what runs in the background
//	until PATTERN CMD…   run drawbridge CMD until it succeeds and prints PATTERN, with ! until it does not
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("XDG_RUNTIME_DIR", e.WorkDir)
			e.Setenv("GORACE", "atexit_sleep_ms=0") // else each command sleeps a second as it ends
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"house": func(ts *testscript.TestScript, _ bool, _ []string) {
				fprs, err := makeHouse(ts.MkAbs("."))
				ts.Check(err)
				for name, fpr := range fprs {
					ts.Setenv(name, fpr)
				}
			},
			"genkey": func(ts *testscript.TestScript, _ bool, args []string) {
				age := time.Duration(0)
				if len(args) > 2 {
					age = map[string]time.Duration{"expired": 400 * day, "soon": 363 * day}[args[2]]
				}
				fpr, err := makeKey(ts.MkAbs(args[0]), args[1], nil, age)
				ts.Check(err)
				ts.Setenv("FPR", fpr)
			},
			"sub": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(substitute(ts.MkAbs(args[0]), args[1], args[2]))
			},
			"signal": func(ts *testscript.TestScript, _ bool, args []string) {
				sig := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL}[args[0]]
				for _, cmd := range ts.BackgroundCmds() {
					ts.Check(cmd.Process.Signal(sig))
				}
			},
			"until": func(ts *testscript.TestScript, neg bool, args []string) {
				pattern := regexp.MustCompile("(?m)" + args[0])
				args = append(args[1:], "--config", ts.MkAbs("drawbridge.yaml"))
				for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
					var out strings.Builder
					if run(args, streams{nil, &out, io.Discard}) == exitOK && pattern.MatchString(out.String()) == !neg {
						return
					}
				}
				ts.Fatalf("drawbridge %v never says so", args)
			},
		},
	})
}

const day = 24 * time.Hour

// patience is how long a machine that is busy elsewhere may take.
const patience = time.Minute

// makeKey writes a key that was made age ago and lasts a year.
func makeKey(file, jid string, pass []byte, age time.Duration) (string, error) {
	key, err := openpgp.Generate("", jid, pass, 365*day, time.Now().Add(-age))
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(file, key.Secret, 0o600); err != nil {
		return "", err
	}
	return key.Fingerprint, os.WriteFile(publicName(file), key.Public, 0o644)
}

func substitute(file, old, new string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if !strings.Contains(string(data), old) {
		return fmt.Errorf("%q does not stand in %s", old, file)
	}
	return os.WriteFile(file, []byte(strings.Replace(string(data), old, strings.ReplaceAll(new, `\n`, "\n"), 1)), 0o600)
}

// houseConfig is a configuration with nothing wrong in it. Nobody listens at its
// servers' port.
const houseConfig = `networks:
  corp: {server: "127.0.0.1:1", nick: bridge}
accounts:
  bot:
    jid: bot@corp.example
    password_file: secrets/xmpp
    server: 127.0.0.1:1
    openpgp: {key_file: secrets/bot.asc, passphrase_file: secrets/pass}
keyring: {paths: [keys/]}
people:
  alice:
    jids: [alice@corp.example]
    openpgp: [$ALICE]
  bob:
    jids: [bob@corp.example]
    openpgp: [$BOB]
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp: {account: bot, people: [alice, bob]}
admin: {socket: admin.sock}
`

// houseKeys makes the keys of all houses, once.
var houseKeys = sync.OnceValues(func() (map[string]*openpgp.Generated, error) {
	out := map[string]*openpgp.Generated{}
	for name, pass := range map[string]string{"BOT": "open sesame", "ALICE": "", "BOB": ""} {
		key, err := openpgp.Generate("", strings.ToLower(name)+"@corp.example", nil, 365*day, time.Now())
		if err != nil {
			return nil, err
		}
		if pass != "" {
			if key.Secret, err = locked(key.Secret, []byte(pass)); err != nil {
				return nil, err
			}
		}
		out[name] = key
	}
	return out, nil
})

// locked puts a passphrase on an armored secret key that each of many commands opens
// at once. Ours, which is made to take its time, takes a second under the race detector.
func locked(secret, pass []byte) ([]byte, error) {
	keys, err := pgp.ReadArmoredKeyRing(bytes.NewReader(secret))
	if err != nil {
		return nil, err
	}
	cfg := &packet.Config{S2KConfig: &s2k.Config{S2KMode: s2k.IteratedSaltedS2K, Hash: crypto.SHA256, S2KCount: 65536}}
	if err := keys[0].EncryptPrivateKeys(pass, cfg); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w, err := armor.Encode(&out, pgp.PrivateKeyType, nil)
	if err != nil {
		return nil, err
	}
	if err := keys[0].SerializePrivateWithoutSigning(w, nil); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// makeHouse writes houseConfig and all that it names into dir.
func makeHouse(dir string) (fprs map[string]string, err error) {
	for _, d := range []string{"secrets", "keys"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, err
		}
	}
	made, err := houseKeys()
	if err != nil {
		return nil, err
	}
	fprs = map[string]string{}
	for name, file := range map[string]string{"BOT": "secrets/bot.asc", "ALICE": "alice.asc", "BOB": "bob.asc"} {
		fprs[name] = made[name].Fingerprint
		if err := os.WriteFile(filepath.Join(dir, file), made[name].Secret, 0o600); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, publicName(file)), made[name].Public, 0o644); err != nil {
			return nil, err
		}
	}
	for _, f := range []string{"alice.pub.asc", "bob.pub.asc"} {
		if err := os.Rename(filepath.Join(dir, f), filepath.Join(dir, "keys", f)); err != nil {
			return nil, err
		}
	}
	conf := strings.NewReplacer("$ALICE", fprs["ALICE"], "$BOB", fprs["BOB"]).Replace(houseConfig)
	for name, text := range map[string]string{"secrets/xmpp": "xmpp pass\n", "secrets/pass": "open sesame\n", "drawbridge.yaml": conf} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	return fprs, nil
}
