// Draws every figure from the data island beside it; the page says everything without it, in tables.
'use strict';
(function () {
  const root = document.documentElement;
  root.classList.add('js');
  const options = {
    ast: true, // expressions are interpreted: the page's policy forbids making functions from text
    renderer: 'svg',
    actions: false,
    defaultStyle: false,
    tooltip: { disableDefaultStyle: true },
  };
  const drawn = Array.from(document.querySelectorAll('.chart'), function (chart) {
    const spec = JSON.parse(document.getElementById(chart.dataset.spec).textContent);
    return vegaEmbed(chart, spec, options).catch(function (error) {
      chart.textContent = 'This chart could not be drawn; the table below has its numbers.';
      throw error;
    });
  });
  Promise.all(drawn).then(
    function () { root.dataset.charts = 'drawn'; },
    function (error) { root.dataset.charts = 'failed'; console.error(error); });
  window.addEventListener('beforeprint', function () {
    for (const details of document.querySelectorAll('main details')) details.open = true;
  });
})();
