//go:build e2e

package progress

import (
	"context"
	"fmt"
	"image"
	"image/color"
	_ "image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestPageInChromium looks at the page in a browser: in light, dark and on paper something
// is to be seen, of many colours, and the console is silent.
func TestPageInChromium(t *testing.T) {
	browser := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
			break
		}
	}
	if browser == "" {
		t.Skip("no chromium is installed: apt-get install chromium, to look at the page of migrate report")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "report.html")
	if err := os.WriteFile(file, []byte(page1(t, testReport())), 0o600); err != nil {
		t.Fatal(err)
	}
	keep := os.Getenv("REPORT_SHOTS") // a folder for a person to look at them
	shots := map[string][]string{"light": nil, "dark": {"--force-dark-mode", "--blink-settings=preferredColorScheme=0"}, "narrow": nil}
	var back []color.Color
	for _, name := range []string{"light", "dark", "narrow"} {
		shot := filepath.Join(dir, name+".png")
		out := chromium(t, browser, dir, append(shots[name], "--screenshot="+shot, map[bool]string{true: "--window-size=500,2300", false: "--window-size=960,1700"}[name == "narrow"], "file://"+file)...)
		if strings.Contains(out, "CONSOLE") {
			t.Errorf("%s: the console says:\n%s", name, out)
		}
		img := picture(t, shot)
		back = append(back, img.At(2, 2))
		seen := map[color.Color]int{}
		bounds := img.Bounds()
		for y := bounds.Min.Y; y < bounds.Max.Y; y += 3 {
			for x := bounds.Min.X; x < bounds.Max.X; x += 3 {
				seen[img.At(x, y)]++
			}
		}
		all := bounds.Dx() * bounds.Dy() / 9
		if bounds.Dx() < 480 || len(seen) < 20 || seen[img.At(2, 2)] > all*98/100 {
			t.Errorf("%s: %v, %d colours, %d of %d points are background", name, bounds, len(seen), seen[img.At(2, 2)], all)
		}
		if keep != "" {
			b, _ := os.ReadFile(shot)
			_ = os.WriteFile(filepath.Join(keep, name+".png"), b, 0o600)
		}
	}
	if back[0] == back[1] {
		t.Errorf("light and dark have one background: %v", back[0])
	}
	paper := filepath.Join(dir, "report.pdf")
	chromium(t, browser, dir, "--no-pdf-header-footer", "--print-to-pdf="+paper, "file://"+file)
	if b, err := os.ReadFile(paper); err != nil || len(b) < 10_000 || !strings.HasPrefix(string(b), "%PDF-") {
		t.Errorf("on paper: %d bytes, %v", len(b), err)
	} else if keep != "" {
		_ = os.WriteFile(filepath.Join(keep, "report.pdf"), b, 0o600)
	}
}

// chromium runs the browser to its end. It is no part of what is tested, and gets three
// tries.
func chromium(t *testing.T, browser, dir string, args ...string) string {
	t.Helper()
	var last []byte
	for try := range 3 {
		profile := filepath.Join(dir, "profile"+strconv.Itoa(try))
		flags := append([]string{
			"--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run", "--disable-extensions",
			"--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--user-data-dir=" + profile,
		}, args...)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // much, on a machine under load
		cmd := exec.CommandContext(ctx, browser, flags...)
		cmd.Env = append(os.Environ(), "HOME="+dir)
		cmd.WaitDelay = 10 * time.Second
		out, err := cmd.CombinedOutput()
		cancel()
		if err == nil {
			return string(out)
		}
		last = fmt.Appendf(nil, "%v\n%s", err, out)
	}
	t.Fatalf("chromium: %s", last)
	return ""
}

func picture(t *testing.T, path string) image.Image {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	img, _, err := image.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	return img
}
