<?php
// The article's steps by the client that OpenAPI Generator generates for PHP.
// Arguments: the server's address, a key, the folder of the client, Guzzle's autoloader.
require $argv[4];
spl_autoload_register(function (string $class) use ($argv): void {
    $file = $argv[3] . '/lib/' . str_replace('\\', '/', substr($class, strlen('OpenAPI\\Client\\'))) . '.php';
    if (str_starts_with($class, 'OpenAPI\\Client\\') && is_file($file)) {
        require $file;
    }
});
$configuration = (new OpenAPI\Client\Configuration())->setHost($argv[1])->setApiKey('X-API-Key', $argv[2]);
$http = new GuzzleHttp\Client();
$tickets = new OpenAPI\Client\Api\TicketsApi($http, $configuration);
$reads = new OpenAPI\Client\Api\ReadsApi($http, $configuration);
$bulk = new OpenAPI\Client\Api\BulkApi($http, $configuration);
$ticket = new OpenAPI\Client\Model\TicketIn(['subject' => 'Refund?', 'description' => 'I was charged twice']);
$made = $tickets->create($ticket);
$answer = $tickets->classify($made->getTicketId());
$sent = $tickets->route($made->getTicketId());
$events = $reads->ticketLogs($made->getTicketId());
try {
    $tickets->classify('nobody-1');
} catch (OpenAPI\Client\ApiException $error) {
    $unknown = json_decode($error->getResponseBody())->code;
}
$path = tempnam(sys_get_temp_dir(), 'tickets');
file_put_contents($path, "subject\nCrash\nInvoice\n");
$lines = $bulk->batch(body: new SplFileObject($path), do: 'classify,route', contentType: 'text/csv');
unlink($path);
$bulk->classifyMany();
echo json_encode([
    'ticket' => $made->getTicketId(), 'classification' => $answer->getClassification(), 'routed' => $sent->getStatus(),
    'actions' => array_map(fn ($event) => $event->getAction(), $events), 'unknown' => $unknown,
    'lines' => count(file($lines->getPathname())),
]);
