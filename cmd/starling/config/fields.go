package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// isLeaf tells whether a type is written as one word.
func isLeaf(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int64:
		return true
	default:
		return false
	}
}

// fieldsOf are a struct's keys as they are written in a file.
func fieldsOf(t reflect.Type) map[string]reflect.StructField {
	fields := map[string]reflect.StructField{}
	for f := range t.Fields() {
		if name := f.Tag.Get("yaml"); name != "-" {
			fields[name] = f
		}
	}
	return fields
}

// outside says why a value breaks its field's range or choice, or nothing.
func outside(v reflect.Value, tag reflect.StructTag) string {
	if choices := tag.Get("oneof"); choices != "" {
		list := strings.Split(choices, ",")
		if !slices.Contains(list, v.String()) {
			return fmt.Sprintf("%q is none of %s%s", v.String(), strings.Join(list, ", "), suggest(v.String(), list))
		}
	}
	lowText, highText, bounded := strings.Cut(tag.Get("range"), "..")
	if !bounded {
		return ""
	}
	low, high := bound(v.Type(), lowText), bound(v.Type(), highText)
	if v.Int() < low || v.Int() > high {
		return fmt.Sprintf("%v is outside of %s to %s", v.Interface(), lowText, highText)
	}
	return ""
}

// bound reads one end of a range tag in the field's unit. The tags are ours: a bad one is our mistake.
func bound(t reflect.Type, text string) int64 {
	switch t {
	case reflect.TypeFor[time.Duration]():
		d, err := time.ParseDuration(text)
		if err != nil {
			panic(err)
		}
		return int64(d)
	case reflect.TypeFor[int]():
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			panic(err)
		}
		return n
	default:
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil {
			panic(err)
		}
		return int64(s)
	}
}

// suggest is "; did you mean …?" if one of the names is near enough to be a slip of the pen.
func suggest(typed string, names []string) string {
	best, least := "", 1+max(1, len(typed)/3)
	for _, name := range names {
		if d := distance(typed, name); d < least {
			best, least = name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance counts the letters to insert, delete, replace or swap with their neighbour to turn a into b (Damerau's, in
// the restricted form).
func distance(a, b string) int {
	var before, last []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
