/*! Tallyroot, Apache-2.0. The page contains Preact:
The MIT License (MIT)

Copyright (c) 2015-present Jason Miller

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
*/
var s=self,a="tallyroot-receipt",c=["receipt","receipt.js","receipt-worker.js","page.css","voting.css","vote-ar.js","vote-de.js","vote-es.js","vote-fr.js","vote-pt.js"],d=new URL(".",s.location.href).href,r=new Set(c.map(e=>d+e));s.addEventListener("install",e=>{e.waitUntil(caches.open(a).then(t=>t.addAll([...r])).then(()=>s.skipWaiting()))});s.addEventListener("activate",e=>e.waitUntil(s.clients.claim()));s.addEventListener("fetch",e=>{let t=e.request.url.replace(/[?#].*$/,"");e.request.method==="GET"&&r.has(t)&&e.respondWith(l(e.request,t))});async function l(e,t){let o=await caches.open(a),i=await o.match(t);try{let n=await fetch(e);return n.ok&&await o.put(t,n.clone()),n.ok||i===void 0?n:i}catch(n){if(i===void 0)throw n;return i}}
