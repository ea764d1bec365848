#!/usr/bin/env escript
%% SFTP by Erlang's ssh daemon: erlang_server.escript KEYS ROOT. Alice's password is "wonderland".
%% It ends with its standard input.
main([Keys, Root]) ->
    {ok, _} = application:ensure_all_started(ssh),
    {ok, Daemon} = ssh:daemon({127, 0, 0, 1}, 0, [
        {system_dir, Keys},
        {user_passwords, [{"alice", "wonderland"}]},
        {auth_methods, "password"},
        {subsystems, [ssh_sftpd:subsystem_spec([{root, Root}])]}
    ]),
    {ok, Info} = ssh:daemon_info(Daemon),
    io:format("port ~p~n", [proplists:get_value(port, Info)]),
    io:get_line("").
