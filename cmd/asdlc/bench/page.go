package bench

import (
	"bytes"
	"html/template"
	"io"
	"strings"
)

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"label": Label,
	"ms":    func(seconds float64) float64 { return 1000 * seconds },
	"mib":   func(bytes int64) float64 { return float64(bytes) / (1 << 20) },
}).Parse(`<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>asdlc bench</title>
<style>
body { font: 15px/1.4 sans-serif; margin: 2em auto; max-width: 80em; padding: 0 1em }
svg { max-width: 100%; height: auto }
table { border-collapse: collapse }
td, th { padding: .2em .8em; text-align: right; border-bottom: 1px solid #ddd }
td:nth-child(1), td:nth-child(3), th:nth-child(1), th:nth-child(3) { text-align: left }
</style>
<h1>Training steps relative to stochastic gradient descent</h1>
{{.SVG}}
<table>
<tr><th>model<th>batch<th>method<th>T<th>ms a step<th>examples/s<th>throughput / SGD<th>resident MiB<th>memory / SGD<th>planned MiB
{{range .Results}}<tr><td>{{label .Model}}<td>{{.Batch}}<td>{{label .Method}}<td>{{if .Every}}{{.Every}}{{else}}-{{end}}
{{- if .Step}}<td>{{printf "%.3g" (ms .Step)}}<td>{{printf "%.0f" .Examples}}<td>{{printf "%.3f" .Throughput.Median}}<td>{{printf "%.1f" (mib .Resident)}}<td>{{printf "%.2f" .Memory}}<td>{{printf "%.1f" (mib .Plan.Total)}}
{{- else}}<td colspan="6">{{.Error}}{{end}}
{{end}}</table>
</html>
`))

// page writes the figure and the numbers as a page that needs nothing else.
func (f *figure) page(w io.Writer, results []*Result) error {
	var svg bytes.Buffer
	if err := f.svg(&svg); err != nil {
		return err
	}
	_, picture, _ := strings.Cut(svg.String(), "<svg") // without the XML declaration
	return pageTemplate.Execute(w, struct {
		SVG     template.HTML
		Results []*Result
	}{template.HTML("<svg" + picture), results})
}
