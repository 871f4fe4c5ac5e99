package keyring

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func key(b byte) []byte { return bytes.Repeat([]byte{b}, KeyLen) }

func text(b byte) string { return base64.StdEncoding.EncodeToString(key(b)) }

func write(t *testing.T, path, s string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAFileIsReadAgainAndABadOneKeepsTheKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	write(t, path, "# ours\n"+text(1)+"\n"+text(2)+" # old\n")
	r, err := File(path)
	if err != nil {
		t.Fatal(err)
	}
	want := func(keys ...byte) {
		t.Helper()
		have := r.Keys()
		if len(have) != len(keys) {
			t.Fatalf("have %d keys, want %d", len(have), len(keys))
		}
		for i, b := range keys {
			if !bytes.Equal(have[i], key(b)) {
				t.Errorf("key %d is not the %dth", i, b)
			}
		}
	}
	want(1, 2)
	if changed, err := r.Reload(); changed || err != nil {
		t.Errorf("an unchanged file: %v, %v", changed, err)
	}
	write(t, path, `["`+text(3)+`","`+text(1)+`"]`)
	if changed, err := r.Reload(); !changed || err != nil {
		t.Errorf("a changed file: %v, %v", changed, err)
	}
	want(3, 1)
	write(t, path, "half a ke")
	if changed, err := r.Reload(); changed || err == nil {
		t.Errorf("a broken file: %v, %v", changed, err)
	}
	want(3, 1)
}

func TestAWrongFileIsNamedAndNothingOfItIsShown(t *testing.T) {
	short := base64.StdEncoding.EncodeToString([]byte("sesame sesame"))
	for name, tt := range map[string]struct{ text, want string }{
		"empty":      {"# none\n", "there are 0 keys"},
		"not base64": {text(1) + "\nopen sesame!\n", "key 2 is not base64"},
		"short":      {short, "key 1 has 13 bytes, want 32"},
		"json":       {`[1]`, "no list of text"},
		"many":       {strings.Repeat(text(1)+"\n", keysMax+1), "there are 17 keys"},
		"long":       {strings.Repeat("#", bytesMax+1), "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys")
			write(t, path, tt.text)
			_, err := File(path)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want %s and the path", err, tt.want)
			}
			if err != nil && (strings.Contains(err.Error(), "sesame") || strings.Contains(err.Error(), short)) {
				t.Errorf("the error shows what is in the file: %v", err)
			}
		})
	}
	if _, err := File(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a missing file was read")
	}
	if _, err := Fixed(); err == nil {
		t.Error("a ring without keys was made")
	}
}
