<?php
// PHP, as apps read a message: $_POST, and $_REQUEST, which holds the query too.
header("Content-Type: application/json");
if (str_starts_with($_SERVER["CONTENT_TYPE"] ?? "", "application/json")) {
    $read = json_decode(file_get_contents("php://input"), true);
    echo json_encode([$read["user_message"] ?? null]);
} else {
    echo json_encode([$_POST["user_message"] ?? null, $_REQUEST["user_message"] ?? null]);
}
